"""Chooses a lane's next run from what is due, and puts off what no run can carry, in bulk and with its cause.

Trusts nobody: a word counts only if it is the one that was rebuilt here, and the Gate decides. Spec sections 2 and 7.
"""

import asyncio
from collections.abc import Sequence
from typing import Final

import structlog

from comity.agents.relayer.backlog import Backlog
from comity.agents.relayer.gate import GateView
from comity.agents.relayer.planner import Candidate, Limits, is_too_large, select_run, split_provable
from comity.agents.relayer.proofs import REACH, ProofDesk, ProvenWord
from comity.agents.relayer.runs import Run, is_true, load_run
from comity.agents.relayer.triage import Triage
from comity.core.delivery import MAX_ENTRIES
from comity.core.errors import Invalid
from comity.core.lane import MAX_NONCE
from comity.core.types import Address32, Lane, Seconds
from comity.store.port import Store

_TOO_LARGE: Final = "needs more gas than a transaction may carry"
_UNPROVEN: Final = "policy not satisfied by the proofs at hand"
_UNDECIDED: Final = "dependency undecided"
_PARK_SECONDS: Final = Seconds(300)

log = structlog.get_logger(__name__)


class Chooser:
    """Chooses for one lane."""

    def __init__(
        self,
        name: str,
        lane: Lane,
        *,
        store: Store,
        gate: GateView,
        backlog: Backlog,
        proofs: ProofDesk,
        triage: Triage,
        beneficiary: Address32,
    ) -> None:
        self._name = name
        self._lane = lane
        self._store = store
        self._gate = gate
        self._backlog = backlog
        self._proofs = proofs
        self._triage = triage
        self._beneficiary = beneficiary
        self._has_jumped = False

    async def choose(self, candidates: list[Candidate], limits: Limits, now: Seconds) -> tuple[Run | None, bool]:
        """Choose the next run, with nothing in it that is known to fail; and without one, whether proofs must come."""
        candidates = self._park(candidates, limits)
        words: list[ProvenWord] = []
        probed: set[int] = set()
        judged = 0
        while candidates:
            if candidates[0].nonce > judged:
                words = await self._find_words(candidates[0].nonce)
                if not words and not candidates[0].awaits:
                    return None, not self._jump(candidates[0].nonce, now)
                judged, candidates = self._judge(candidates, words)
                continue
            selection = select_run(candidates, words, limits)
            if selection is None:
                self._leave(candidates.pop(0))
                await asyncio.sleep(0)
                continue
            try:
                run = load_run(self._store, self._lane, selection, self._beneficiary)
            except Invalid as error:
                log.warning("run.overtaken", lane=self._name, error=error)  # by a reorg, while others were asked
                return None, True
            suspects = [each for each in selection.chosen if each.attempts and each.nonce not in probed]
            if not suspects:
                self._has_jumped = False
                return run, False
            probed.update(each.nonce for each in suspects)
            refused = await self._triage.probe(run, suspects)
            candidates = [each for each in candidates if each.nonce not in refused]
        return None, False

    def _park(self, candidates: list[Candidate], limits: Limits) -> list[Candidate]:
        """Put off what asks for so much gas that no block or pool would take it."""
        parked = [each for each in candidates if is_too_large(each, limits)]
        if not parked:
            return candidates
        self._triage.defer(parked, _TOO_LARGE, _PARK_SECONDS)
        nonces = {each.nonce for each in parked}
        return [each for each in candidates if each.nonce not in nonces]

    def _judge(self, candidates: list[Candidate], words: Sequence[ProvenWord]) -> tuple[int, list[Candidate]]:
        """Put off what the words at hand cannot carry, all at once; up to which nonce they tell, and what remains."""
        first = candidates[0].nonce
        judged = max(first, min(first + MAX_ENTRIES - 1, words[-1].nonce)) if words else first
        near = [each for each in candidates if each.nonce <= judged]
        provable, others = split_provable(near, words)
        self._triage.wait([each for each in others if each.awaits], _UNDECIDED)
        self._triage.wait([each for each in others if not each.awaits], _UNPROVEN)
        return judged, provable + candidates[len(near) :]

    def _leave(self, candidate: Candidate) -> None:
        """Put off what no run can begin with, although its policy could be satisfied."""
        if candidate.awaits:
            self._triage.wait([candidate], _UNDECIDED)
        else:
            self._triage.defer([candidate], _TOO_LARGE, _PARK_SECONDS)

    async def _find_words(self, first: int) -> list[ProvenWord]:
        """Find the true words that can carry what comes within a run from `first`, with the proofs that count now."""
        if self._proofs.is_stale(first, first + MAX_ENTRIES - 1):
            await self._proofs.fetch(first)
        live = await self._gate.fetch_live(self._proofs.indices)
        at_hand = self._proofs.find(first, first + MAX_ENTRIES + REACH - 2)
        if not at_hand:
            return []
        rows = {row.nonce: row for row in self._store.load_dispatches(self._lane, at_hand[0].nonce, at_hand[-1].nonce)}
        found: list[ProvenWord] = []
        for proven in at_hand:
            row = rows.get(proven.nonce)
            if row is None:
                continue
            if not is_true(row, proven):
                log.error("word.contradicted", lane=self._name, nonce=proven.nonce, word=hex(proven.word))
                self._proofs.discard(proven.word)
                continue
            proofs = {index: proof for index, proof in proven.proofs.items() if live >> index & 1}
            if proofs:
                found.append(ProvenWord(proven.nonce, proven.word, proofs))
        # What is above may be no word of the head's.
        return found if found and found[0].nonce < first + REACH else []

    def _jump(self, first: int, now: Seconds) -> bool:
        """Nothing within reach of the oldest envelope is proved: go on with newer ones, if they are; once a round."""
        newer = [] if self._has_jumped else self._proofs.find(first + REACH, MAX_NONCE)
        after = newer[0].nonce - REACH if newer else first - 1
        self._has_jumped = bool(newer) and bool(self._store.load_pending(self._lane, now, limit=1, after=after))
        self._backlog.resume_from(after + 1 if self._has_jumped else first)
        return self._has_jumped
