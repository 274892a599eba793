"""Builds the Gate's arguments for a run, and for one envelope of it alone. Trusts the store for the lane's entries.

Spec section 2; twins: core/delivery.py and contracts/Gate.vy.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from comity.agents.relayer.planner import Candidate, Selection, drop_needless, estimate_gas
from comity.agents.relayer.proofs import ProvenWord
from comity.chain.bindings import encode_deliver
from comity.core.delivery import MAX_SUFFIX, Delivery, encode_body
from comity.core.errors import Invalid
from comity.core.lane import compute_seed, unpack_word
from comity.core.types import Accumulator, Address32, Direction, Gas, Hash32, Lane
from comity.store.port import DispatchRecord, Store


@dataclass(frozen=True, slots=True)
class Run:
    """A selection with every entry of the lane from its first envelope to its word."""

    selection: Selection
    before: Accumulator
    rows: Sequence[DispatchRecord]
    beneficiary: Address32

    def encode(self) -> tuple[bytes, Gas]:
        """Encode the call that delivers the run, and the gas to send with it."""
        return self._encode(self.selection.chosen, self.selection.proven.proofs), self.selection.gas

    def encode_alone(self, candidate: Candidate) -> tuple[bytes, Gas]:
        """Encode the call that would deliver one of its envelopes alone, under the same word."""
        proofs = drop_needless((candidate,), self.selection.proven)
        gas = estimate_gas((candidate,), proofs, self.selection.proven.nonce - candidate.nonce)
        return self._encode((candidate,), proofs), gas

    def encode_unproven(self, chosen: Sequence[Candidate]) -> tuple[bytes, Gas]:
        """Encode the call without proofs, which delivers nothing: whatever its answer says, the Gate itself says it."""
        return self._encode(chosen, {}), self.selection.gas

    def needs_all_proofs(self, candidate: Candidate) -> bool:
        """Say whether one of the envelopes could not be delivered with fewer proofs than the run has."""
        proven = self.selection.proven
        return drop_needless((candidate,), proven) == proven.proofs

    def _encode(self, chosen: Sequence[Candidate], proofs: Mapping[int, bytes]) -> bytes:
        proven, first, last = self.selection.proven, chosen[0].nonce, chosen[-1].nonce
        offset = first - self.rows[0].nonce
        carried = {candidate.nonce: candidate.encoding for candidate in chosen}
        # What the suffix cannot hold goes into the run as bare entries.
        end = max(last, proven.nonce - MAX_SUFFIX)
        entries = tuple(carried.get(row.nonce, row.id) for row in self.rows[offset : offset + end - first + 1])
        delivery = Delivery(
            before=self.rows[offset - 1].accumulator if offset else self.before,
            beneficiary=self.beneficiary,
            proofs=proofs,
            entries=entries,
            suffix=tuple(Hash32(row.id) for row in self.rows[offset + end - first + 1 :]),
        )
        return encode_deliver(delivery.before, delivery.beneficiary, encode_body(delivery))


def load_run(store: Store, lane: Lane, selection: Selection, beneficiary: Address32) -> Run:
    """Load what a run needs.

    Raises:
        Invalid: the store does not hold the entries that the word commits to: a reorg came between.
    """
    first, word = selection.first, selection.proven
    rows = list(store.load_dispatches(lane, first, word.nonce))
    if len(rows) != word.nonce - first + 1 or not is_true(rows[-1], word):
        raise Invalid("the lane no longer holds this word", lane=lane, nonce=word.nonce)
    if first == 1:
        return Run(selection, compute_seed(lane, Direction.DISPATCHES), rows, beneficiary)
    previous = store.load_dispatch(lane, first - 1)
    if previous is None:
        raise Invalid("the entry before the run is missing", lane=lane, nonce=first - 1)
    return Run(selection, previous.dispatch.accumulator, rows, beneficiary)


def is_true(row: DispatchRecord, proven: ProvenWord) -> bool:
    """Say whether a proven word is the one that this relayer rebuilt."""
    return unpack_word(proven.word) == (row.nonce, row.accumulator)
