"""The attestor's loop: newest final word first, then the blocks and snapshots behind it, each promised before signed.

Trusts its witness and its store. It halts a direction of a lane, with evidence, rather than contradict itself.
Spec: spec/verification.md, "Attestation". Twin: contracts/verifiers/Attestation.vy.
"""

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from comity.agents.attestor.api import AttestorApi, ChainHealth
from comity.agents.attestor.duty import AttestedChain, Duty
from comity.agents.attestor.witness import StatePruned, Witness
from comity.agents.runner import failpoint
from comity.core.checkpoint import Checkpoint
from comity.core.errors import ComityError, ConfigError, Invalid, NotReady
from comity.core.lane import SNAPSHOT_INTERVAL
from comity.core.types import ChainId, Hash32, Seconds, Word
from comity.proofs.header import Header
from comity.store.port import AttestationRecord, AttestedWord, HaltRecord, Store
from comity.telemetry import Metrics
from comity.tiers.attestation import DigestSigner, sign_checkpoint

POLL_SECONDS: Final = 2.0
MAX_BACKFILL_BLOCKS: Final = 1024
SNAPSHOTS_PER_PROOF: Final = 64

log = structlog.get_logger(__name__)


class Halted(Invalid):
    """Signing on would contradict what was signed, or what was final."""


@dataclass(frozen=True, slots=True)
class Held:
    """A word, and a final block after which it stood; nonce 0 also for a lane that is not open."""

    height: int
    block_hash: Hash32
    word: Word

    @property
    def nonce(self) -> int:
        return self.word >> 216

    def encode(self) -> bytes:
        return self.height.to_bytes(8) + self.block_hash + self.word.to_bytes(32)

    @classmethod
    def decode(cls, encoded: bytes) -> "Held":
        return cls(int.from_bytes(encoded[:8]), Hash32(encoded[8:40]), Word(int.from_bytes(encoded[40:])))

    def describe(self) -> dict[str, object]:
        return {"height": self.height, "block_hash": "0x" + self.block_hash.hex(), "word": hex(self.word)}


class Attestor:
    """Signs what it proved, for the duties it was given."""

    name = "attestor"

    def __init__(
        self,
        chains: Sequence[AttestedChain],
        duties: Sequence[Duty],
        signer: DigestSigner,
        store: Store,
        metrics: Metrics | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        poll_seconds: float = POLL_SECONDS,
        max_backfill_blocks: int = MAX_BACKFILL_BLOCKS,
    ) -> None:
        """Raises: ConfigError, when the duties contradict the chains or the signer."""
        by_id = {chain.chain_id: chain for chain in chains}
        for duty in duties:
            duty.validate(signer.address, by_id)
        self._duties = tuple(duties)
        self._signer = signer
        self._store = store
        self._metrics = metrics or Metrics()
        self._poll_seconds = poll_seconds
        self._max_backfill_blocks = max_backfill_blocks
        watched = {duty.chain_id for duty in duties}
        self._witnesses = {chain_id: Witness(chain) for chain_id, chain in by_id.items() if chain_id in watched}
        self.health = {chain_id: ChainHealth(witness.chain.name) for chain_id, witness in self._witnesses.items()}
        self.api = AttestorApi(store, self._duties, signer.address, self.health, host=host, port=port)

    async def run(self) -> None:
        """Attest and serve until cancelled."""
        async with self.api.serve():
            try:
                async with asyncio.TaskGroup() as group:
                    for chain_id in self._witnesses:
                        group.create_task(self._follow(chain_id))
            except BaseExceptionGroup as errors:
                raise errors.exceptions[0] from None

    async def _follow(self, chain_id: ChainId) -> None:
        """Attest one chain until cancelled; no failure of it ends the others."""
        is_identified = False
        while True:
            try:
                if not is_identified:
                    await self.verify_identity(chain_id)
                    is_identified = True
                await self.attest(chain_id)
                self._note_round(chain_id, None)
            except ComityError as error:
                # whoever answers next may be another chain
                is_identified = False
                self._note_round(chain_id, error)
            await asyncio.sleep(self._poll_seconds)

    def _note_round(self, chain_id: ChainId, error: ComityError | None) -> None:
        """Tell how a round went; the log hears of it when it went otherwise than the last one."""
        health = self.health[chain_id]
        before, health.error = health.error, error.message if error else None
        health.is_halted = isinstance(error, ConfigError)
        if error:
            self._metrics.count_error(self.name, type(error).__name__.lower())
        if health.error == before:
            return
        if error is None:
            log.info("chain.attested", chain=health.name)
        elif health.is_halted:
            log.error("chain.halted", chain=health.name, error=error, next_step=error.next_step)
        else:
            log.warning("chain.interrupted", chain=health.name, error=error, next_step=error.next_step)

    async def verify_identity(self, chain_id: ChainId) -> None:
        """Check the chain and its contracts. Raises: ConfigError, Unavailable."""
        contracts = sorted({duty.contract for duty in self._duties if duty.chain_id == chain_id})
        await self._witnesses[chain_id].verify_identity(contracts)

    async def attest(self, chain_id: ChainId) -> None:
        """Sign what became final on one chain.

        Raises:
            NotReady: nothing new is final.
            ComityError: too few providers, or no store; what could be signed was.
        """
        witness = self._witnesses[chain_id]
        halted = {(halt.lane, halt.direction) for halt in self._store.load_halts()}
        final = await witness.fetch_final()
        self._note_final(chain_id, final)
        failure: ComityError | None = None
        for duty in self._duties:
            if duty.chain_id != chain_id:
                continue
            if (duty.id, duty.direction) in halted:
                self._metrics.halted.labels(duty.name, duty.direction.name.lower()).set(1)
                continue
            try:
                await self._attest(duty, witness, final)
            except Halted:
                halted.add((duty.id, duty.direction))
            except ComityError as error:
                failure = error
        if failure:
            raise failure

    async def _attest(self, duty: Duty, witness: Witness, final: Header) -> None:
        encoded = self._store.load_cursor(duty.cursor)
        done = Held.decode(encoded) if encoded else None
        if done and (done.height, done.block_hash) == (final.number, final.hash):
            return
        signed = self._load_highest(duty)
        await self._verify_canonical(duty, witness, final, [held for held in (done, signed) if held])
        newest = await self._look(duty, witness, final)
        for known in (done, signed):
            if known and (newest.nonce < known.nonce or (newest.nonce == known.nonce and newest.word != known.word)):
                raise self._halt(duty, "the word went back", known, newest)
        if newest.nonce:
            if done is None or done.word != newest.word:
                self._sign(duty, newest)
            self._metrics.attested_nonce.labels(duty.name, duty.direction.name.lower()).set(newest.nonce)
            try:
                await self._sign_behind(duty, witness, newest, done)
            except StatePruned as error:
                log.warning("backfill.skipped", lane=duty.name, direction=duty.direction.name, error=error)
            await self._sign_snapshots(duty, witness, final, newest, done.nonce if done else 0)
        self._store.save_cursor(duty.cursor, newest.encode())

    async def _verify_canonical(self, duty: Duty, witness: Witness, final: Header, known: Sequence[Held]) -> None:
        """Check that what was final still is.

        Raises:
            Halted: it is not.
            NotReady: the providers have not reached it again.
        """
        for held in known:
            if held.height > final.number:
                raise NotReady("the final block is behind the last one", last=held.height, final=final.number)
            header = final if held.height == final.number else await witness.fetch_header(held.height)
            if header.hash != held.block_hash:
                found = Held(header.number, header.hash, Word(0))
                raise self._halt(duty, "a final block was replaced", held, found)

    async def _look(self, duty: Duty, witness: Witness, header: Header) -> Held:
        word = await witness.prove_word(header, duty.contract, duty.id)
        return Held(header.number, header.hash, word)

    async def _sign_behind(self, duty: Duty, witness: Witness, newest: Held, done: Held | None) -> None:
        """Sign the words of the blocks before the newest, which others may have signed instead.

        Raises: StatePruned, Unavailable, Halted.
        """
        lowest = max(witness.chain.start_block, newest.height - self._max_backfill_blocks)
        if done is None or done.height < lowest:
            if lowest >= newest.height:
                return
            done = await self._look(duty, witness, await witness.fetch_header(lowest))
        await self._bisect(duty, witness, done, newest)

    async def _bisect(self, duty: Duty, witness: Witness, lower: Held, upper: Held) -> None:
        """Sign the word of each block above `lower`, up to `upper`, in which it changed; the newest first."""
        if lower.word == upper.word:
            return
        if upper.height - lower.height <= 1:
            self._sign(duty, upper)
            return
        header = await witness.fetch_header((lower.height + upper.height) // 2)
        middle = await self._look(duty, witness, header)
        await self._bisect(duty, witness, middle, upper)
        await self._bisect(duty, witness, lower, middle)

    async def _sign_snapshots(self, duty: Duty, witness: Witness, final: Header, newest: Held, above: int) -> None:
        """Sign every snapshot between a nonce and the newest word, so that old entries stay within a proof's reach."""
        highest = newest.nonce - newest.nonce % SNAPSHOT_INTERVAL
        nonces = range(highest, above, -SNAPSHOT_INTERVAL)
        for start in range(0, len(nonces), SNAPSHOTS_PER_PROOF):
            chunk = nonces[start : start + SNAPSHOTS_PER_PROOF]
            words = await witness.prove_snapshots(final, duty.contract, duty.id, chunk)
            for nonce, word in zip(chunk, words, strict=True):
                held = Held(final.number, final.hash, word)
                if held.nonce == nonce:
                    self._sign(duty, held, is_snapshot=True)
                else:
                    log.warning("snapshot.missed", lane=duty.name, nonce=nonce, found=hex(word))

    def _sign(self, duty: Duty, held: Held, *, is_snapshot: bool = False) -> None:
        """Promise the word durably, then sign it, then make the signature durable; only then can it be served."""
        attested = AttestedWord(
            duty.id, duty.direction, held.nonce, held.word, held.height, held.block_hash, is_snapshot
        )
        try:
            checkpoint = Checkpoint(duty.id, duty.direction, held.word)
            self._store.reserve_word(attested)
        except Invalid as error:
            promised = self._store.load_attested_word(duty.id, duty.direction, held.nonce)
            known = Held(promised.height, promised.block_hash, promised.word) if promised else None
            raise self._halt(duty, error.message, known, held) from error
        failpoint("attestor.promised")
        signature = sign_checkpoint(self._signer, duty.verifier, checkpoint, duty.attestation_set)
        failpoint("attestor.signed")
        record = AttestationRecord(
            attested=attested,
            verify_chain=duty.verifier.chain_id,
            verifier=duty.verifier.address,
            set_id=duty.attestation_set.id,
            epoch=duty.attestation_set.epoch,
            signer=self._signer.address,
            signature=signature,
        )
        self._store.save_attestation(record)
        failpoint("attestor.saved")
        log.info("word.signed", lane=duty.name, direction=duty.direction.name, nonce=held.nonce, height=held.height)

    def _halt(self, duty: Duty, reason: str, known: Held | None, found: Held) -> Halted:
        """Stop signing for this direction until an operator has looked."""
        evidence = {"known": known.describe() if known else None, "found": found.describe()}
        now = Seconds(int(time.time()))
        self._store.save_halt(HaltRecord(duty.id, duty.direction, reason, json.dumps(evidence), now))
        self._metrics.halted.labels(duty.name, duty.direction.name.lower()).set(1)
        next_step = "find out whether the chain or the providers changed the past; do not resume with this key before"
        direction = duty.direction.name
        log.error(
            "lane.halted", lane=duty.name, direction=direction, reason=reason, evidence=evidence, next_step=next_step
        )
        return Halted(reason, lane=duty.id, next_step=next_step, **evidence)

    def _load_highest(self, duty: Duty) -> Held | None:
        attested = self._store.load_highest_attested_word(duty.id, duty.direction)
        return Held(attested.height, attested.block_hash, attested.word) if attested else None

    def _note_final(self, chain_id: ChainId, final: Header) -> None:
        health = self.health[chain_id]
        health.final_height, health.final_hash = final.number, final.hash
        self._metrics.finality_lag.labels(health.name).set(time.time() - final.timestamp)
