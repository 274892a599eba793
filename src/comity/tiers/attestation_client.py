"""What an attestor answers over HTTP, and the client that collects attestations from several of them.

Trusts no attestor: every signature is recovered before it counts, answers are bounded in size, number and time, and
garbage from one never hides what another signed. Spec: spec/verification.md, "Attestation".
Twin: agents/attestor/api.py.
"""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType
from typing import ClassVar, Final, Self

import aiohttp
import msgspec
import structlog

from comity.core.attestation import AttestationSet, AttestationsTooFew
from comity.core.checkpoint import Checkpoint
from comity.core.errors import Invalid, Unavailable
from comity.core.lane import MAX_NONCE
from comity.core.types import Address, Direction, Lane, Word
from comity.tiers.attestation import Attestation, AttestationVerifier, SignedWord, choose_words, recover_signer

MAX_PAGE: Final = 256
"""The most attestations in one answer."""

_ENTRY_BYTES: Final = 1024
MAX_ANSWER_BYTES: Final = 4096 + MAX_PAGE * _ENTRY_BYTES
TIMEOUT_SECONDS: Final = 5.0
STRAGGLER_SECONDS: Final = 0.25
HANGING_SECONDS: Final = 30.0
"""How long nobody waits for an attestor that let a question time out; it is asked all the same."""

log = structlog.get_logger(__name__)


class AttestationEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One attestation on the wire; bytes and words as 0x-prefixed hex."""

    nonce: int
    word: str
    height: int
    block_hash: str
    snapshot: bool
    chain_id: str
    """Of the verifier, in decimal, as JSON numbers end at 53 bits."""
    verifier: str
    set_id: str
    epoch: int
    signer: str
    signature: str


class AttestationPage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The answer to `GET /v1/attestations/{lane}/{direction}`, newest first."""

    lane: str
    direction: int
    attestations: list[AttestationEntry]


_DECODER: Final = msgspec.json.Decoder(AttestationPage)


class AttestationClient:
    """Collects what the members of one verifier's live sets have signed. `urls` are the attestors' base URLs."""

    _failing: ClassVar[set[str]] = set()
    """Attestors known to be in trouble: a process says so once, not once for each lane and question."""

    def __init__(
        self,
        urls: Sequence[str],
        verifier: AttestationVerifier,
        sets: Sequence[AttestationSet],
        *,
        timeout: float = TIMEOUT_SECONDS,
        straggler: float = STRAGGLER_SECONDS,
        max_answer_bytes: int = MAX_ANSWER_BYTES,
    ) -> None:
        self._urls = tuple(url.rstrip("/") for url in urls)
        self._verifier = verifier
        self._sets = {each.id: each for each in sorted(sets, key=lambda each: each.epoch)}
        self._timeout = aiohttp.ClientTimeout(total=timeout)
        self._straggler = straggler
        self._max_answer_bytes = max_answer_bytes
        self._session: aiohttp.ClientSession | None = None
        self._hanging: dict[str, float] = {}
        """Attestors that timed out, and until when they are taken to hang."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Release the connections."""
        session, self._session = self._session, None
        if session:
            await session.close()

    async def fetch(self, lane: Lane, direction: Direction, min_nonce: int) -> list[tuple[Word, bytes]]:
        """Fetch the lowest words from `min_nonce` on that enough members signed, with a proof of each, in order.

        Raises: Unavailable, Equivocation.
        """
        attestations = await self.fetch_attestations(lane, direction, min_nonce=min_nonce, oldest_first=True)
        words = self._choose_words(attestations)
        return [(words[nonce].checkpoint.word, words[nonce].proof) for nonce in sorted(words)]

    async def fetch_proof(
        self, lane: Lane, direction: Direction, *, min_nonce: int = 1, max_nonce: int = MAX_NONCE
    ) -> tuple[Checkpoint, bytes]:
        """Fetch the highest word within these nonces that enough members signed, and its proof.

        Raises:
            AttestationsTooFew: no word has enough signatures yet.
            Unavailable: no attestor answers.
            Equivocation: a quorum signed two words of one nonce.
        """
        attestations = await self.fetch_attestations(lane, direction, min_nonce=min_nonce, max_nonce=max_nonce)
        words = self._choose_words(attestations)
        if not words:
            raise AttestationsTooFew("no word has enough signatures", lane=lane, min_nonce=min_nonce)
        highest = words[max(words)]
        return highest.checkpoint, highest.proof

    async def fetch_attestations(
        self,
        lane: Lane,
        direction: Direction,
        *,
        min_nonce: int = 1,
        max_nonce: int = MAX_NONCE,
        oldest_first: bool = False,
    ) -> list[Attestation]:
        """Fetch a page from all attestors at once; each attestation returned is a member's, recovered.

        Once a word has enough signatures, the attestors that have not answered are waited for only a little longer;
        and so are those that let a question time out lately, enough or not.

        Raises:
            Unavailable: none of them gives a usable answer.
        """
        path = f"/v1/attestations/0x{lane.hex()}/{int(direction)}"
        order = "oldest" if oldest_first else "newest"
        path += f"?min_nonce={min_nonce}&max_nonce={max_nonce}&limit={MAX_PAGE}&order={order}"
        pending = {asyncio.create_task(self._fetch_page(url, path), name=url) for url in self._urls}
        found: dict[tuple[Checkpoint, int, Address], Attestation] = {}
        answers = 0
        try:
            while pending:
                is_enough = bool(self._choose_words(found.values())) or all(map(self._is_hanging, pending))
                patience = self._straggler if is_enough else None
                done, pending = await asyncio.wait(pending, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
                if not done:
                    break
                for task in done:
                    if page := task.result():
                        answers += 1
                        for each in self._recover_page(task.get_name(), page, lane, direction):
                            if min_nonce <= each.checkpoint.nonce <= max_nonce:
                                found[each.checkpoint, each.set_id, each.signer] = each
        finally:
            for task in pending:
                task.cancel()
            await asyncio.gather(*pending, return_exceptions=True)
        if not answers:
            raise Unavailable("no attestor answers", attestors=len(self._urls), lane=lane)
        return list(found.values())

    def _choose_words(self, attestations: Iterable[Attestation]) -> dict[int, SignedWord]:
        """By nonce; of several sets that signed a word, the newest, which dies last."""
        found = tuple(attestations)
        chosen = (word for each in self._sets.values() for word in choose_words(found, each))
        return {word.checkpoint.nonce: word for word in chosen}

    def _is_hanging(self, task: asyncio.Task[AttestationPage | None]) -> bool:
        return self._hanging.get(task.get_name(), 0) > asyncio.get_running_loop().time()

    async def _fetch_page(self, url: str, path: str) -> AttestationPage | None:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=self._timeout, cookie_jar=aiohttp.DummyCookieJar())
        try:
            async with self._session.get(url + path, allow_redirects=False) as response:
                body = await _read_bounded(response, self._max_answer_bytes)
            if response.status != 200:
                self._note_failure(url, f"status {response.status}")
                return None
            page = _DECODER.decode(body)
        except TimeoutError:
            self._hanging[url] = asyncio.get_running_loop().time() + HANGING_SECONDS
            self._note_failure(url, "no answer in time")
            return None
        except (aiohttp.ClientError, OSError, Invalid, ValueError, RecursionError) as error:
            self._note_failure(url, str(error) or type(error).__name__)
            return None
        self._hanging.pop(url, None)
        if url in self._failing:
            self._failing.discard(url)
            log.info("attestor.recovered", url=url)
        return page

    def _note_failure(self, url: str, why: str) -> None:
        if url not in self._failing:
            self._failing.add(url)
            log.warning("attestor.failed", url=url, why=why)

    def _recover_page(self, url: str, page: AttestationPage, lane: Lane, direction: Direction) -> Iterator[Attestation]:
        for entry in page.attestations[:MAX_PAGE]:
            try:
                if attestation := self._recover(entry, lane, direction):
                    yield attestation
            except (ValueError, Invalid) as error:
                log.warning("attestation.refused", url=url, reason=error)

    def _recover(self, entry: AttestationEntry, lane: Lane, direction: Direction) -> Attestation | None:
        """None when it is for another verifier, or for a set that is not live."""
        attestation_set = self._sets.get(int(entry.set_id, 16))
        address = bytes.fromhex(entry.verifier.removeprefix("0x"))
        if attestation_set is None or (int(entry.chain_id), address) != (
            self._verifier.chain_id,
            self._verifier.address,
        ):
            return None
        checkpoint = Checkpoint(lane, direction, Word(int(entry.word, 16)))
        signature = bytes.fromhex(entry.signature.removeprefix("0x"))
        signer = recover_signer(self._verifier, checkpoint, attestation_set, signature)
        return Attestation(checkpoint, attestation_set.id, signer, signature, entry.height)


async def _read_bounded(response: aiohttp.ClientResponse, limit: int) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_chunked(64 * 1024):
        body += chunk
        if len(body) > limit:
            raise Invalid("the answer is too long", limit=limit)
    return bytes(body)
