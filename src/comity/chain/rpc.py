"""A thin async JSON-RPC client of one provider: deadlines, retries, batches, typed answers.

Trusts the provider for availability only: what it says is checked by `chain.quorum` and `comity.proofs`. Errors name
its host and nothing else of its URL.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

import msgspec
import stamina

from comity.chain import codec
from comity.chain.codec import (
    AccountProof,
    Block,
    BlockRef,
    FeeHistory,
    Log,
    StorageProof,
    TopicFilter,
    TransactionReceipt,
    from_hex,
    from_quantity,
    to_block_ref,
    to_hash,
    to_hex,
    to_quantity,
)
from comity.chain.revert import decode_revert
from comity.chain.transport import TransportFailed, TransportRefused, build_transport
from comity.core.errors import ComityError, NotReady, Rejected, Unavailable
from comity.core.types import Hash32

__all__ = [
    "AccountProof",
    "Block",
    "BlockRef",
    "FeeHistory",
    "Log",
    "Rpc",
    "RpcError",
    "StorageProof",
    "TopicFilter",
    "TransactionReceipt",
]

T = TypeVar("T")

# Done twice, these do something twice; so a lost answer is not asked for again.
_UNREPEATABLE = ("anvil_", "evm_", "hardhat_", "eth_sendTransaction")
_REVERT_CODE = 3
_RATE_LIMITED = ("rate limit", "too many requests", "request rate", "compute units")
_EXECUTION_FAILED = ("revert", "evm error", "invalid opcode", "out of gas", "stack underflow", "invalid jump")


class RpcError(ComityError):
    """The provider answered with a JSON-RPC error that is not a revert."""

    def __init__(self, message: str, *, code: int, data: Any = None, **values: Any) -> None:
        self.code = code
        self.data = data
        super().__init__(message, code=code, **values)


class _Error(msgspec.Struct):
    code: int = 0
    message: str = ""
    data: Any = None


class _Answer(msgspec.Struct):
    id: int | str | None = None
    result: Any = None
    error: _Error | None = None


_MALFORMED = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError)
"""What a parser raises on JSON of another shape."""

_ENCODER = msgspec.json.Encoder()


class Rpc:
    """One provider. `timeout` bounds a call with all of its retries, in seconds."""

    def __init__(self, url: str, *, timeout: float = 10.0, retries: int = 4) -> None:
        self._transport, self.host = build_transport(url)
        self._timeout = timeout
        self._attempts = retries + 1

    def __repr__(self) -> str:
        return f"Rpc({self.host!r})"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Release the connection."""
        await self._transport.close()

    async def call(self, method: str, *params: Any) -> Any:
        """The JSON result of one method; bytes in `params` become hex.

        Raises: Unavailable, Rejected (a revert), RpcError.
        """
        [answer] = await self._exchange([(method, params)], alone=True)
        if isinstance(answer, ComityError):
            raise answer
        return answer

    async def batch(
        self,
        calls: Sequence[tuple[str, Sequence[Any]]],
        *,
        parse: Callable[[Any], Any] | None = None,
        return_exceptions: bool = False,
    ) -> list[Any]:
        """The results of many methods in one request, in order, each through `parse`.

        Raises: Unavailable, also when `parse` refuses a result; and the first Rejected or RpcError, unless errors are
            to be returned in place.
        """
        answers = await self._exchange(calls, alone=False) if calls else []
        for answer in answers:
            if isinstance(answer, ComityError) and not return_exceptions:
                raise answer
        if parse is None:
            return answers
        return [
            answer if isinstance(answer, ComityError) else self._parse(parse, method, answer)
            for (method, _), answer in zip(calls, answers, strict=True)
        ]

    async def chain_id(self) -> int:
        """The EIP-155 id that the provider claims."""
        return await self._ask(from_quantity, "eth_chainId")

    async def block_number(self) -> int:
        """The number of the latest block."""
        return await self._ask(from_quantity, "eth_blockNumber")

    async def fetch_block(self, block: BlockRef = "latest", full: bool = False) -> Block:
        """A mined block by number, tag or hash. Raises: NotReady when the provider does not know it."""
        method = "eth_getBlockByHash" if isinstance(block, bytes) else "eth_getBlockByNumber"
        found = await self._ask(
            _optional(codec.parse_block),
            method,
            to_hex(block) if isinstance(block, bytes) else to_block_ref(block),
            full,
        )
        if found is None:
            raise NotReady("the provider does not know this block", host=self.host, block=block)
        return found

    async def eth_call(
        self,
        to: bytes | None,
        data: bytes,
        *,
        block: BlockRef = "latest",
        sender: bytes | None = None,
        value: int = 0,
        gas: int | None = None,
        state_override: Mapping[bytes, Mapping[str, Any]] | None = None,
    ) -> bytes:
        """What a call would return, or of a creation the code. Raises: Rejected with the decoded reason."""
        params: list[Any] = [_to_transaction(to, data, sender, value, gas), to_block_ref(block)]
        if state_override:
            params.append(state_override)
        return await self._ask(from_hex, "eth_call", *params)

    async def estimate_gas(
        self, to: bytes | None, data: bytes, *, sender: bytes | None = None, value: int = 0, block: BlockRef = "latest"
    ) -> int:
        """Gas that the transaction would need. Raises: Rejected with the decoded reason when it reverts."""
        return await self._ask(
            from_quantity, "eth_estimateGas", _to_transaction(to, data, sender, value, None), to_block_ref(block)
        )

    async def fetch_logs(
        self,
        address: bytes | Sequence[bytes] | None = None,
        topics: Sequence[TopicFilter] = (),
        from_block: BlockRef | None = None,
        to_block: BlockRef | None = None,
        *,
        block_hash: bytes | None = None,
    ) -> list[Log]:
        """The logs of a range of blocks, or of the one block of this hash."""
        blocks = (
            {"blockHash": to_hex(block_hash)}
            if block_hash is not None
            else {
                "fromBlock": to_block_ref("latest" if from_block is None else from_block),
                "toBlock": to_block_ref("latest" if to_block is None else to_block),
            }
        )
        filter_ = codec.to_log_filter(address, topics) | blocks
        return await self._ask(lambda logs: [codec.parse_log(log) for log in logs], "eth_getLogs", filter_)

    async def fetch_proof(
        self, address: bytes, slots: Sequence[int | bytes] = (), block: BlockRef = "latest"
    ) -> AccountProof:
        """Proof of an account and of some of its storage slots; verify it with `proofs.mpt`."""
        keys = [to_hex(slot.to_bytes(32, "big") if isinstance(slot, int) else slot) for slot in slots]
        return await self._ask(codec.parse_account_proof, "eth_getProof", address, keys, to_block_ref(block))

    async def fetch_receipt(self, transaction_hash: bytes) -> TransactionReceipt | None:
        """The receipt of a mined transaction, or None."""
        return await self._ask(_optional(codec.parse_receipt), "eth_getTransactionReceipt", transaction_hash)

    async def send_raw_transaction(self, raw: bytes) -> Hash32:
        """Broadcast a signed transaction; its hash."""
        return await self._ask(to_hash, "eth_sendRawTransaction", raw)

    async def transaction_count(self, address: bytes, block: BlockRef = "latest") -> int:
        """The next nonce of an account; at `pending`, after what the pool holds."""
        return await self._ask(from_quantity, "eth_getTransactionCount", address, to_block_ref(block))

    async def balance(self, address: bytes, block: BlockRef = "latest") -> int:
        """Wei held by an account."""
        return await self._ask(from_quantity, "eth_getBalance", address, to_block_ref(block))

    async def code(self, address: bytes, block: BlockRef = "latest") -> bytes:
        """The code at an address; empty when it is no contract."""
        return await self._ask(from_hex, "eth_getCode", address, to_block_ref(block))

    async def storage_at(self, address: bytes, slot: int, block: BlockRef = "latest") -> int:
        """One storage slot, unproven."""
        key = to_hex(slot.to_bytes(32, "big"))
        return await self._ask(from_quantity, "eth_getStorageAt", address, key, to_block_ref(block))

    async def fee_history(
        self, count: int, newest: BlockRef = "latest", percentiles: Sequence[float] = ()
    ) -> FeeHistory:
        """Base fees and paid priority fees of the last `count` blocks."""
        params = (to_quantity(count), to_block_ref(newest), list(percentiles))
        return await self._ask(codec.parse_fee_history, "eth_feeHistory", *params)

    async def _ask(self, parse: Callable[[Any], T], method: str, *params: Any) -> T:
        return self._parse(parse, method, await self.call(method, *params))

    def _parse(self, parse: Callable[[Any], T], method: str, answer: Any) -> T:
        try:
            return parse(answer)
        except _MALFORMED:
            raise Unavailable("the provider gave a malformed answer", host=self.host, method=method) from None

    async def _exchange(self, calls: Sequence[tuple[str, Sequence[Any]]], *, alone: bool) -> list[Any]:
        """Results or errors in the order of `calls`."""
        requests = [
            {"jsonrpc": "2.0", "id": position, "method": method, "params": codec.to_json(list(params))}
            for position, (method, params) in enumerate(calls)
        ]
        body = _ENCODER.encode(requests[0] if alone else requests)
        methods = [method for method, _ in calls]
        attempts = 1 if any(method.startswith(_UNREPEATABLE) for method in methods) else self._attempts
        try:
            async with asyncio.timeout(self._timeout):
                async for attempt in stamina.retry_context(
                    on=TransportFailed, attempts=attempts, timeout=None, wait_initial=0.1, wait_max=2.0, wait_jitter=0.2
                ):
                    with attempt:
                        return _match_answers(await self._transport.exchange(body), methods, self.host)
        except (TransportFailed, TransportRefused, TimeoutError) as error:
            reason = str(error) or f"no answer in {self._timeout:g} s"
        raise Unavailable("the provider does not answer", host=self.host, method=methods[0], why=reason)


def _match_answers(body: bytes, methods: Sequence[str], host: str) -> list[Any]:
    try:
        decoded = msgspec.convert(codec.decode_json(body), list[_Answer] | _Answer)
    except msgspec.ValidationError:
        raise TransportRefused("answer is not JSON-RPC, or nested too deeply") from None
    except ValueError:
        raise TransportFailed("answer is not JSON") from None
    answers = decoded if isinstance(decoded, list) else [decoded]
    if len(answers) == 1 and answers[0].id is None and answers[0].error is not None:
        answers = [_Answer(id=position, error=answers[0].error) for position in range(len(methods))]
    by_id = {answer.id: answer for answer in answers}
    if len(answers) != len(methods) or by_id.keys() != set(range(len(methods))):
        raise TransportFailed("answers do not match the requests")
    return [_to_result(by_id[position], method, host) for position, method in enumerate(methods)]


def _to_result(answer: _Answer, method: str, host: str) -> Any:
    error = answer.error
    if error is None:
        return answer.result
    message = error.message.lower()
    if error.code == 429 or any(sign in message for sign in _RATE_LIMITED):
        raise TransportFailed("rate limit")
    executes = method in ("eth_call", "eth_estimateGas", "eth_sendTransaction")
    if executes and (error.code == _REVERT_CODE or any(sign in message for sign in _EXECUTION_FAILED)):
        revert_data = _find_revert_data(error.data)
        return Rejected("execution reverted", reason=decode_revert(revert_data) or error.message, data=revert_data)
    return RpcError(error.message or "JSON-RPC error", code=error.code, data=error.data, host=host, method=method)


def _find_revert_data(found: Any) -> bytes:
    """Revert data as geth, Anvil (`0x…`), Nethermind (`Reverted 0x…`) and Hardhat (`{"data": …}`) write it."""
    if isinstance(found, Mapping):
        found = found.get("data")
    try:
        return from_hex(found.rsplit(" ", 1)[-1]) if isinstance(found, str) else b""
    except ValueError:
        return b""


def _to_transaction(to: bytes | None, data: bytes, sender: bytes | None, value: int, gas: int | None) -> dict[str, Any]:
    transaction: dict[str, Any] = {"data": data}
    if to is not None:
        transaction["to"] = to
    if sender is not None:
        transaction["from"] = sender
    if value:
        transaction["value"] = to_quantity(value)
    if gas is not None:
        transaction["gas"] = to_quantity(gas)
    return transaction


def _optional(parse: Callable[[Any], T]) -> Callable[[Any], T | None]:
    return lambda answer: None if answer is None else parse(answer)
