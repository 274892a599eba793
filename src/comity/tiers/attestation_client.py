"""What an attestor answers over HTTP, and the client that collects attestations from several of them.

Trusts no attestor: every signature is recovered before it counts, answers are bounded in size, number and time, and
garbage from one never hides what another signed. Spec: spec/verification.md, "Attestation". Twin: agents/attestor_api.py.
"""

import asyncio
from collections.abc import Sequence
from types import TracebackType
from typing import Final, Self

import aiohttp
import msgspec
import structlog

from comity.core.attestation import AttestationError, AttestationSet, AttestationsTooFew
from comity.core.checkpoint import Checkpoint
from comity.core.errors import Invalid, Unavailable
from comity.core.lane import MAX_NONCE
from comity.core.types import Address, Direction, Lane, Word
from comity.tiers.attestation import Attestation, AttestationVerifier, build_proof, choose_word, recover_signer

MAX_PAGE: Final = 256
"""The most attestations in one answer."""

_ENTRY_BYTES: Final = 1024
MAX_ANSWER_BYTES: Final = 4096 + MAX_PAGE * _ENTRY_BYTES
TIMEOUT_SECONDS: Final = 5.0

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
    """Collects what the members of one verifier's sets have signed. `urls` are the attestors' base URLs."""

    def __init__(
        self,
        urls: Sequence[str],
        verifier: AttestationVerifier,
        *,
        timeout: float = TIMEOUT_SECONDS,
        max_answer_bytes: int = MAX_ANSWER_BYTES,
    ) -> None:
        self._urls = tuple(url.rstrip("/") for url in urls)
        self._verifier = verifier
        self._timeout = aiohttp.ClientTimeout(total=timeout)
        self._max_answer_bytes = max_answer_bytes
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Release the connections."""
        if self._session:
            await self._session.close()

    async def fetch_proof(
        self,
        lane: Lane,
        direction: Direction,
        attestation_set: AttestationSet,
        *,
        min_nonce: int = 1,
        max_nonce: int = MAX_NONCE,
    ) -> tuple[Checkpoint, bytes]:
        """Fetch the highest word within these nonces that a quorum of the set signed, and its proof.

        Raises:
            AttestationsTooFew: no word has enough signatures yet.
            Unavailable: no attestor answers.
            Equivocation: a quorum signed two words of one nonce.
        """
        attestations = await self.fetch_attestations(
            lane, direction, attestation_set, min_nonce=min_nonce, max_nonce=max_nonce
        )
        chosen = choose_word(attestations, attestation_set.threshold)
        if chosen is None:
            raise AttestationsTooFew("no word has enough signatures", lane=lane, min_nonce=min_nonce)
        return chosen.checkpoint, build_proof(chosen.checkpoint, attestation_set, chosen.signatures)

    async def fetch_attestations(
        self,
        lane: Lane,
        direction: Direction,
        attestation_set: AttestationSet,
        *,
        min_nonce: int = 1,
        max_nonce: int = MAX_NONCE,
    ) -> list[Attestation]:
        """Fetch from all attestors at once; each attestation returned is a member's, recovered.

        Raises:
            Unavailable: none of them gives a usable answer.
        """
        path = f"/v1/attestations/0x{lane.hex()}/{int(direction)}"
        query = f"?min_nonce={min_nonce}&max_nonce={max_nonce}&limit={MAX_PAGE}"
        answers = await asyncio.gather(*(self._fetch_page(url, path + query) for url in self._urls))
        if not any(answers):
            raise Unavailable("no attestor answers", attestors=len(self._urls), lane=lane)
        found: dict[tuple[Checkpoint, Address], Attestation] = {}
        for url, page in zip(self._urls, answers, strict=True):
            if page is None:
                continue
            if page.lane != "0x" + lane.hex() or page.direction != direction:
                log.warning("attestation.refused", url=url, reason="answer for another lane or direction")
                continue
            for entry in page.attestations[:MAX_PAGE]:
                attestation = self._recover(url, lane, direction, attestation_set, entry)
                if attestation and min_nonce <= attestation.checkpoint.nonce <= max_nonce:
                    found[attestation.checkpoint, attestation.signer] = attestation
        return list(found.values())

    async def _fetch_page(self, url: str, path: str) -> AttestationPage | None:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=self._timeout, cookie_jar=aiohttp.DummyCookieJar())
        try:
            async with self._session.get(url + path, allow_redirects=False) as response:
                body = await _read_bounded(response, self._max_answer_bytes)
            if response.status != 200:
                log.warning("attestor.refused", url=url, status=response.status)
                return None
            return _DECODER.decode(body)
        except (aiohttp.ClientError, TimeoutError, OSError, Invalid, msgspec.MsgspecError, UnicodeDecodeError) as error:
            log.warning("attestor.failed", url=url, error=error)
            return None

    def _recover(
        self,
        url: str,
        lane: Lane,
        direction: Direction,
        attestation_set: AttestationSet,
        entry: AttestationEntry,
    ) -> Attestation | None:
        try:
            if int(entry.set_id, 16) != attestation_set.id or not self._is_for_verifier(entry):
                return None
            checkpoint = Checkpoint(lane, direction, Word(int(entry.word, 16)))
            signature = bytes.fromhex(entry.signature.removeprefix("0x"))
            signer = recover_signer(self._verifier, checkpoint, attestation_set, signature)
        except (ValueError, AttestationError, Invalid) as error:
            log.warning("attestation.refused", url=url, reason=error)
            return None
        return Attestation(checkpoint, signer, signature, entry.height)

    def _is_for_verifier(self, entry: AttestationEntry) -> bool:
        address = bytes.fromhex(entry.verifier.removeprefix("0x"))
        return (int(entry.chain_id), address) == (self._verifier.chain_id, self._verifier.address)


async def _read_bounded(response: aiohttp.ClientResponse, limit: int) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_chunked(64 * 1024):
        body += chunk
        if len(body) > limit:
            raise Invalid("the answer is too long", limit=limit)
    return bytes(body)
