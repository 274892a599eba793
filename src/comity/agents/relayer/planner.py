"""Which envelopes go into the next run, under which word, with whose proofs and how much gas. Pure: no I/O, no clock.

Trusts the caller for the state of the lane; nothing here can do harm, because the Gate checks everything again.
Spec sections 2 and 7; twin: contracts/Gate.vy, `deliver`.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from comity.agents.relayer.proofs import ProvenWord
from comity.core.delivery import MAX_ENTRIES, MAX_SUFFIX
from comity.core.envelope import Envelope, Flags
from comity.core.policy import is_satisfied
from comity.core.types import EnvelopeId, Gas, Outcome, Seconds

ANY_POLICY: Final = None
"""The receiver has no say: a VIEW, or plain assets."""

# Upper bounds of the Gate's own work, in gas; measured by tests/gas. What is not used comes back.
_RUN_GAS: Final = 200_000  # of it the Gate wants 100k untouched before each frame
_PROOF_GAS: Final = 110_000
_ENVELOPE_GAS: Final = 32_000
_ENTRY_GAS: Final = 1_600
_BYTE_GAS: Final = 20
_LONGEST_SLEEP: Final = 60
_NEVER: Final = Seconds(0)
_VALUATION_GAS: Final = 120_000  # the Gate gives a receiver with tiers this much to value one envelope
_CALLDATA_FLOOR: Final = 40  # EIP-7623, of a byte that is not zero


@dataclass(frozen=True, slots=True)
class Candidate:
    """An undecided envelope that could be delivered as far as time and dependencies go."""

    nonce: int
    id: EnvelopeId
    encoding: bytes
    envelope: Envelope
    receiver_policy: int | None = ANY_POLICY
    is_tiered: bool = False
    """The receiver's policy depends on its valuation of the envelope."""
    awaits: int = 0
    """An undecided dependency that must come earlier in the same run; 0 when there is none."""
    attempts: int = 0
    """How often it failed already; then it is probed alone before it may join a run."""
    seen_at: Seconds = _NEVER
    """On this machine's clock."""

    def is_satisfied(self, verified: int) -> bool:
        """Say whether these verifiers are enough for the sender and for the receiver."""
        return _is_satisfied(self.envelope.policy, verified) and (
            self.receiver_policy is ANY_POLICY or _is_satisfied(self.receiver_policy, verified)
        )


@dataclass(frozen=True, slots=True)
class Limits:
    """What one transaction may hold."""

    gas: Gas
    envelopes: int = 100


@dataclass(frozen=True, slots=True)
class Selection:
    """A run to deliver: consecutive from the first chosen envelope to the last, the others as bare hashes."""

    proven: ProvenWord
    chosen: tuple[Candidate, ...]
    gas: Gas

    @property
    def first(self) -> int:
        return self.chosen[0].nonce

    @property
    def last(self) -> int:
        return self.chosen[-1].nonce

    @property
    def suffix(self) -> int:
        """Number of entries after the last chosen envelope, up to the word."""
        return self.proven.nonce - self.last


@dataclass(frozen=True, slots=True)
class Hindrance:
    """Why an envelope is not deliverable now; waiting costs no attempt."""

    cause: str
    wait: Seconds


class Expired(Exception):
    """The deadline has passed."""


@lru_cache(maxsize=1 << 14)
def _is_satisfied(policy: int, verified: int) -> bool:
    return is_satisfied(policy, verified)


def needs_receiver_policy(envelope: Envelope) -> bool:
    """Say whether the receiver's policy binds this envelope: not for VIEWs, nor for assets without payload."""
    return not envelope.flags & Flags.VIEW and not (envelope.assets and not envelope.payload)


def find_time_hindrance(envelope: Envelope, now: Seconds) -> Hindrance | None:
    """Find whether the window is open.

    Raises:
        Expired: it has closed.
    """
    if now > envelope.deliver_before:
        raise Expired
    if now < envelope.deliver_after:
        # The chain's clock decides: look again soon, however far off this machine's clock says it is.
        return Hindrance("too early", Seconds(min(envelope.deliver_after - now, _LONGEST_SLEEP)))
    return None


def find_dependency_hindrance(outcome: Outcome | None, *, is_known: bool, wait: Seconds) -> Hindrance | None:
    """Find whether a dependency lets its dependant be decided; a failed or cancelled one does, by failing it."""
    if not is_known:
        return Hindrance("dependency not indexed", wait)
    if outcome is None:
        return Hindrance("dependency undecided", wait)
    # An expired call wrote no mark: its dependants wait for their own deadline.
    return Hindrance("dependency expired", Seconds(60 * wait)) if outcome is Outcome.EXPIRED else None


def estimate_envelope_gas(candidate: Candidate) -> int:
    """Gas to allow for one envelope: the frame in full, both 63/64 steps, and the Gate's work around it."""
    frame = candidate.envelope.gas_limit
    with_margins = frame + frame // 63 + 1
    with_margins += with_margins // 63 + 1
    valuation = _VALUATION_GAS if candidate.is_tiered else 0
    return with_margins + valuation + _ENVELOPE_GAS + _BYTE_GAS * len(candidate.encoding)


def is_too_large(candidate: Candidate, limits: Limits) -> bool:
    """Say whether an envelope needs more gas than one transaction may carry, even alone and under the nearest word."""
    return estimate_gas((candidate,), {}, 0) > limits.gas


def estimate_gas(chosen: Sequence[Candidate], proofs: Mapping[int, bytes], bare: int) -> Gas:
    """Gas to send with a run, of which `bare` entries are hashes only."""
    carried = sum(len(proof) for proof in proofs.values())
    execution = (
        _RUN_GAS
        + _VALUATION_GAS  # a receiver may have got its tiers only now
        + sum(map(estimate_envelope_gas, chosen))
        + _PROOF_GAS * len(proofs)
        + _BYTE_GAS * carried
        + (_ENTRY_GAS + 32 * _BYTE_GAS) * bare
    )
    body = sum(len(candidate.encoding) + 2 for candidate in chosen) + carried + 34 * bare + 512
    return Gas(max(execution, 21_000 + _CALLDATA_FLOOR * body))


def split_provable(
    candidates: Sequence[Candidate], words: Sequence[ProvenWord]
) -> tuple[list[Candidate], list[Candidate]]:
    """Split candidates into those that some word at hand can carry, and the others with what awaits one of them."""
    nonces: dict[int, list[int]] = {}
    for proven in words:
        nonces.setdefault(proven.verified, []).append(proven.nonce)
    provable: list[Candidate] = []
    others: list[Candidate] = []
    kept: set[int] = set()
    for candidate in candidates:
        is_carried = any(
            candidate.is_satisfied(verified) and _is_reached(candidate.nonce, reached)
            for verified, reached in nonces.items()
        )
        if is_carried and (not candidate.awaits or candidate.awaits in kept):
            provable.append(candidate)
            kept.add(candidate.nonce)
        else:
            others.append(candidate)
    return provable, others


def _is_reached(nonce: int, words: Sequence[int]) -> bool:
    position = bisect_left(words, nonce)
    return position < len(words) and words[position] < nonce + MAX_ENTRIES + MAX_SUFFIX


def select_run(candidates: Sequence[Candidate], words: Sequence[ProvenWord], limits: Limits) -> Selection | None:
    """Choose the run that starts with the first candidate and decides the most envelopes, then the cheapest.

    `candidates` are in order of nonce; `words` are true and in order of nonce. None when no word at hand can carry the
    first candidate within the limits.
    """
    best: Selection | None = None
    end = min(candidates[-1].nonce, candidates[0].nonce + MAX_ENTRIES - 1)
    for alike in _group_usable(candidates[0], words):
        for proven in _find_extremes(alike, end):
            selection = _fill(candidates, proven, limits)
            if selection:
                nearest = alike[bisect_left(alike, selection.last, key=lambda each: each.nonce)]
                selection = _fill(candidates, nearest, limits) or selection
                best = max(best or selection, selection, key=_rank)
    return best


def _group_usable(head: Candidate, words: Sequence[ProvenWord]) -> Iterable[Sequence[ProvenWord]]:
    """Group the words that can carry the first candidate by the verifiers that accept them."""
    groups: dict[int, list[ProvenWord]] = {}
    for proven in words:
        if head.nonce <= proven.nonce < head.nonce + MAX_ENTRIES + MAX_SUFFIX and head.is_satisfied(proven.verified):
            groups.setdefault(proven.verified, []).append(proven)
    return groups.values()


def _find_extremes(alike: Sequence[ProvenWord], end: int) -> list[ProvenWord]:
    """Of words that differ in nonce only: the first, and those around the last candidate that a run could hold.

    What is between them carries no more than these do, and there may be hundreds.
    """
    after = bisect_left(alike, end, key=lambda each: each.nonce)
    return [alike[position] for position in sorted({0, after - 1, after}) if 0 <= position < len(alike)]


def _rank(selection: Selection) -> tuple[int, int]:
    return len(selection.chosen), -selection.suffix


def _fill(candidates: Sequence[Candidate], proven: ProvenWord, limits: Limits) -> Selection | None:
    head = candidates[0]
    spent: int = estimate_gas((), proven.proofs, proven.nonce - head.nonce + 1)
    chosen: list[Candidate] = []
    taken: set[int] = set()
    for candidate in candidates:
        if (
            candidate.nonce > proven.nonce
            or candidate.nonce >= head.nonce + MAX_ENTRIES
            or len(chosen) == limits.envelopes
        ):
            break
        if not candidate.is_satisfied(proven.verified):
            continue
        if candidate.awaits and candidate.awaits not in taken:
            continue
        gas = estimate_envelope_gas(candidate)
        if spent + gas > limits.gas:
            break
        spent += gas
        chosen.append(candidate)
        taken.add(candidate.nonce)
    if not chosen or chosen[0] is not head:
        return None
    slim = ProvenWord(proven.nonce, proven.word, drop_needless(chosen, proven))
    bare = proven.nonce - head.nonce + 1 - len(chosen)
    return Selection(slim, tuple(chosen), estimate_gas(chosen, slim.proofs, bare))


def drop_needless(chosen: Sequence[Candidate], proven: ProvenWord) -> dict[int, bytes]:
    """Keep only the proofs without which some chosen envelope would not be satisfied, trying the longest first.

    All are kept where a valuation decides how many are needed.
    """
    proofs = dict(proven.proofs)
    if any(candidate.is_tiered for candidate in chosen):
        return proofs
    wanted = {(candidate.envelope.policy, candidate.receiver_policy): candidate for candidate in chosen}.values()
    for index in sorted(proven.proofs, key=lambda index: (-len(proven.proofs[index]), index)):
        verified = sum(1 << kept for kept in proofs if kept != index)
        if all(candidate.is_satisfied(verified) for candidate in wanted):
            del proofs[index]
    return proofs
