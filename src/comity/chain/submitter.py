"""Gets transactions of one account mined: nonces, fees, replacements, rebroadcasts, and why a failed one failed.

Trusts its provider for availability and fees, within a cap. Any number of submissions may be in flight. No nonce ever
carries two live transactions but a replacement and what it replaces, and at most one of those can be mined.
"""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress

import msgspec

from comity.chain.rpc import Rpc, RpcError, TransactionReceipt
from comity.chain.signer import TransactionSigner
from comity.chain.transaction import compute_transaction_hash
from comity.core.errors import ComityError, ConfigError, NotReady, Rejected, Unavailable
from comity.core.types import Hash32

GAS_MARGIN_BPS = 2_500
"""Added to an estimate, in hundredths of a percent: state may move before the transaction is mined."""

MIN_PRIORITY_FEE = 1_000_000
"""Wei per gas offered to the block's producer at least."""

_TRANSFER_GAS = 21_000
_FEE_BLOCKS, _FEE_PERCENTILE = 10, 50.0
_SEND_ATTEMPTS = 4
_DEAD_POLLS = 3
"""Polls in a row that must find a nonce used and no receipt of ours: a provider's views may lag behind each other."""

# What nodes say, in lower case: there are no codes for these.
_KNOWN = ("already known", "already imported", "known transaction", "already exists")
_NONCE_USED = ("nonce too low", "nonce is too low", "old nonce")
_NONCE_AHEAD = ("nonce too high", "nonce is too high", "nonce gap", "gapped")
_NONCE_TAKEN = ("replacement transaction underpriced", "could not replace")
_POOR = ("insufficient funds", "insufficient balance")
_CHEAP = ("less than block base fee", "underpriced", "fee too low", "feecap")


class Fees(msgspec.Struct, frozen=True):
    """Wei per gas."""

    max_fee: int
    priority_fee: int

    def bump(self) -> "Fees":
        """At least an eighth more of both, as every pool demands of a replacement."""
        return Fees(self.max_fee + self.max_fee // 8 + 1, self.priority_fee + self.priority_fee // 8 + 1)


class _Submission:
    """One call that must be mined once, under whichever nonce and hash."""

    def __init__(self, to: bytes | None, data: bytes, value: int, gas: int) -> None:
        self.to, self.data, self.value, self.gas = to, data, value, gas
        self.done: asyncio.Future[TransactionReceipt] = asyncio.get_running_loop().create_future()
        self.nonce = -1
        self.fees = Fees(0, 0)
        self.raws: dict[Hash32, bytes] = {}
        self.sent_at = 0.0
        self.dead_polls = 0

    def refuse(self, error: BaseException) -> None:
        """End with an error, which is no error of the event loop when the caller has gone away."""
        if not self.done.done():
            self.done.set_exception(error)
            self.done.exception()


class Submitter:
    """One per account and chain; two that share a key fight over nonces, and both survive it, slowly."""

    def __init__(
        self,
        rpc: Rpc,
        signer: TransactionSigner,
        *,
        chain_id: int,
        max_fee_per_gas_cap: int,
        poll_seconds: float = 1.0,
        stuck_seconds: float = 30.0,
        on_signed: Callable[[int, bytes], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rpc = rpc
        self._signer = signer
        self._chain_id = chain_id
        self._cap = max_fee_per_gas_cap
        self._poll_seconds = poll_seconds
        self._stuck_seconds = stuck_seconds
        self._on_signed = on_signed
        self._clock = clock
        self._lock = asyncio.Lock()
        self._live: dict[int, _Submission] = {}
        self._next_nonce = 0
        self._used = 0
        self._used_since = clock()
        self._watcher: asyncio.Task[None] | None = None

    @property
    def in_flight(self) -> int:
        """Transactions not mined yet."""
        return len(self._live)

    async def submit(self, to: bytes | None, data: bytes, value: int = 0, gas: int | None = None) -> TransactionReceipt:
        """The receipt of a successful call, once in a block; a caller that is cancelled leaves it in flight.

        Raises: Rejected with the decoded reason when it would revert, or did; NotReady while the base fee exceeds the
        cap; ConfigError when the account is empty; Unavailable.
        """
        if gas is None:
            estimate = await self._rpc.estimate_gas(to, data, sender=self._signer.address, value=value)
            gas = estimate + estimate * GAS_MARGIN_BPS // 10_000
        submission = _Submission(to, data, value, gas)
        # A caller cancelled while the bytes are on their way must not leave a transaction that nobody watches.
        await asyncio.shield(asyncio.ensure_future(self._place(submission)))
        receipt = await asyncio.shield(submission.done)
        if receipt.status != 1:
            raise await self._explain(submission, receipt)
        return receipt

    async def close(self) -> None:
        """Stop watching; what is in flight stays in the pool."""
        watcher, self._watcher = self._watcher, None
        if watcher is not None:
            watcher.cancel()
            await asyncio.gather(watcher, return_exceptions=True)
        self._fail(Unavailable("the submitter was closed", in_flight=len(self._live)))

    async def _place(self, submission: _Submission) -> None:
        async with self._lock:
            await self._send(submission)
        if self._watcher is None or self._watcher.done():
            self._watcher = asyncio.create_task(self._watch_until_idle())

    # -- sending; the lock is held

    async def _send(self, submission: _Submission) -> None:
        """Sign under a fresh nonce and broadcast. On return the submission is live; on an error it never will be."""
        lowest = 0
        for _ in range(_SEND_ATTEMPTS):
            fees = await self._fetch_fees()
            nonce = await self._fetch_nonce(lowest)
            said = await self._broadcast(submission, nonce, fees)
            if said == "taken":
                lowest = nonce + 1
            elif said != "ahead":
                self._live[nonce] = submission
                self._next_nonce = nonce + 1
                return
        raise Unavailable("the provider accepts no nonce", host=self._rpc.host, address=self._signer.address)

    async def _fetch_nonce(self, lowest: int) -> int:
        """The next free nonce: our own count while something is in flight, the pool's view otherwise."""
        pending = await self._rpc.transaction_count(self._signer.address, "pending")
        nonce = max(pending, lowest, self._next_nonce if self._live else 0)
        while nonce in self._live:
            nonce += 1
        return nonce

    async def _broadcast(self, submission: _Submission, nonce: int, fees: Fees) -> str:
        """Sign and send; "sent", "ahead" (the nonce leaves a gap) or "taken" (another transaction has it)."""
        raw = self._signer.sign_transaction(
            {
                "chainId": self._chain_id,
                "nonce": nonce,
                "maxPriorityFeePerGas": fees.priority_fee,
                "maxFeePerGas": fees.max_fee,
                "gas": submission.gas,
                "to": submission.to,
                "value": submission.value,
                "data": submission.data,
            }
        )
        if self._on_signed is not None:
            self._on_signed(nonce, raw)
        sent_at = self._clock()
        said = await self._offer(raw)
        if said not in ("ahead", "taken"):
            submission.nonce, submission.fees, submission.sent_at = nonce, fees, sent_at
            submission.raws[compute_transaction_hash(raw)] = raw
            submission.dead_polls = 0
        return said

    async def _offer(self, raw: bytes) -> str:
        """Send raw bytes, and read what the pool says to them."""
        try:
            await self._rpc.send_raw_transaction(raw)
        except Unavailable:
            return "sent"  # It may have arrived: whoever watches finds out, and sends the same bytes again.
        except RpcError as error:
            message = error.message.lower()
            # A used nonce may be this very transaction's, mined before the answer was lost: the watcher tells.
            if _says(message, _KNOWN + _NONCE_USED):
                return "sent"
            if _says(message, _NONCE_AHEAD):
                return "ahead"
            if _says(message, _NONCE_TAKEN):
                return "taken"
            if _says(message, _POOR):
                raise ConfigError(
                    "the account cannot pay for its transactions",
                    next_step="send it some of the chain's own coin",
                    address=self._signer.address,
                    chain=self._chain_id,
                ) from None
            if _says(message, _CHEAP):
                raise NotReady("the pool wants higher fees", host=self._rpc.host, said=error.message) from None
            raise
        return "sent"

    async def _fetch_fees(self) -> Fees:
        history = await self._rpc.fee_history(_FEE_BLOCKS, "latest", [_FEE_PERCENTILE])
        base_fee = history.base_fees[-1]
        if base_fee >= self._cap:
            raise NotReady("the base fee exceeds the cap", base_fee=base_fee, max_fee_per_gas_cap=self._cap)
        paid = sorted(row[0] for row in history.rewards if row)
        priority = max(paid[len(paid) // 2] if paid else 0, MIN_PRIORITY_FEE)
        return Fees(min(2 * base_fee + priority, self._cap), min(priority, self._cap - base_fee))

    # -- watching

    async def _watch_until_idle(self) -> None:
        while self._live:
            try:
                async with self._lock:
                    await self._look()
            except ComityError:
                pass  # The chain or the fees may come back; every submission stays live.
            except Exception as error:
                self._fail(error)
                raise
            await asyncio.sleep(self._poll_seconds)

    async def _look(self) -> None:
        """One poll of all that is in flight: settle what was mined, then mend what was not."""
        submissions = sorted(self._live.values(), key=lambda submission: submission.nonce)
        used = await self._rpc.transaction_count(self._signer.address, "latest")
        if used != self._used:
            self._used, self._used_since = used, self._clock()
        receipts = await self._fetch_receipts(submissions)
        for submission in submissions:
            if submission.nonce in receipts:
                self._settle(submission, receipts[submission.nonce])
        for submission in submissions:
            if submission.nonce not in receipts:
                with suppress(ComityError):  # It stays live, and must not keep the others from being mended.
                    await (self._bury(submission) if submission.nonce < used else self._push(submission))
        await self._fill_gap()

    async def _fetch_receipts(self, submissions: list[_Submission]) -> dict[int, TransactionReceipt]:
        """By nonce, of whichever of a submission's transactions was mined."""
        sent = [(submission.nonce, known) for submission in submissions for known in submission.raws]
        answers = await self._rpc.batch([("eth_getTransactionReceipt", [known]) for _, known in sent])
        mined = [(nonce, known) for (nonce, known), answer in zip(sent, answers, strict=True) if answer is not None]
        receipts = {nonce: await self._rpc.fetch_receipt(known) for nonce, known in mined}
        return {nonce: receipt for nonce, receipt in receipts.items() if receipt is not None}

    def _settle(self, submission: _Submission, receipt: TransactionReceipt) -> None:
        self._live.pop(submission.nonce, None)
        if not submission.done.done():
            submission.done.set_result(receipt)

    async def _bury(self, submission: _Submission) -> None:
        """A foreign transaction used the nonce: ours can never be mined, so the call goes out under another."""
        submission.dead_polls += 1
        if submission.dead_polls < _DEAD_POLLS:
            return
        del self._live[submission.nonce]
        submission.raws.clear()
        try:
            await self._send(submission)
        except ComityError as error:
            submission.refuse(error)

    async def _push(self, submission: _Submission) -> None:
        """Replace a transaction that waited too long; send a dropped one again."""
        submission.dead_polls = 0
        if self._is_stuck(submission) and self._used in self._live:
            market, bumped = await self._fetch_fees(), submission.fees.bump()
            fees = Fees(max(market.max_fee, bumped.max_fee), max(market.priority_fee, bumped.priority_fee))
            if fees.max_fee <= self._cap:
                if await self._broadcast(submission, submission.nonce, fees) == "taken":
                    submission.fees, submission.sent_at = fees, self._clock()
                return
        *_, newest = submission.raws
        if await self._rpc.call("eth_getTransactionByHash", newest) is None:
            await self._offer(submission.raws[newest])

    async def _fill_gap(self) -> None:
        """Free what waits behind an unused nonce: an earlier process sent something there that the pool dropped."""
        if self._live and self._used < min(self._live) and self._is_stuck(self._live[min(self._live)]):
            filler = _Submission(self._signer.address, b"", 0, _TRANSFER_GAS)
            if await self._broadcast(filler, self._used, await self._fetch_fees()) == "sent":
                self._live[self._used] = filler

    def _is_stuck(self, submission: _Submission) -> bool:
        """Whether nothing of the account was mined for too long since it was sent."""
        return self._clock() - max(submission.sent_at, self._used_since) >= self._stuck_seconds

    def _fail(self, error: BaseException) -> None:
        for submission in self._live.values():
            submission.refuse(error)
        self._live.clear()

    async def _explain(self, submission: _Submission, receipt: TransactionReceipt) -> Rejected:
        """Why a mined transaction failed: the call is replayed on the state before its block, then after it."""
        known = {"transaction_hash": receipt.transaction_hash, "block_number": receipt.block_number}
        for block in (receipt.block_number - 1, receipt.block_number):
            try:
                await self._rpc.eth_call(
                    submission.to,
                    submission.data,
                    block=block,
                    sender=self._signer.address,
                    value=submission.value,
                    gas=submission.gas,
                )
            except Rejected as error:
                return Rejected("transaction reverted", reason=error.reason, data=error.values.get("data"), **known)
            except ComityError:
                continue
        reason = "out of gas" if receipt.gas_used == submission.gas else ""
        return Rejected("transaction reverted", reason=reason, **known)


def _says(message: str, signs: tuple[str, ...]) -> bool:
    return any(sign in message for sign in signs)
