"""`comity send` and `comity expire`: the beginning of an envelope's life, and the end that needs nobody's help."""

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from comity.cli.output import (
    ConfigFlag,
    JsonFlag,
    complete_step,
    emit_fields,
    emit_json,
    exit_after_output,
    quiet_logs,
    show_result,
    show_time,
)
from comity.core.errors import ConfigError, Invalid, NotReady, Rejected

if TYPE_CHECKING:
    from comity.chain.signer import LocalSigner
    from comity.config import LoadedConfig
    from comity.core.policy import Policy
    from comity.core.types import EnvelopeId
    from comity.sdk.client import Client, Decision, LaneEnds, Sent

OriginArgument = Annotated[str, typer.Argument(metavar="ORIGIN", help="Chain: name, CAIP-2 id or number.")]
DestinationArgument = Annotated[str, typer.Argument(metavar="DESTINATION", help="Chain: name, CAIP-2 id or number.")]
ReceiverArgument = Annotated[str, typer.Argument(metavar="RECEIVER", help="Contract at the destination, 0x….")]
IdentifierArgument = Annotated[
    str, typer.Argument(metavar="ID|TX", help="Envelope id, or the transaction that sent it.")
]
KeyFlag = Annotated[Path | None, typer.Option("--key", metavar="FILE", help="Key file to sign with.")]


def send(
    *,
    origin: OriginArgument,
    destination: DestinationArgument,
    receiver: ReceiverArgument,
    payload: Annotated[str, typer.Argument(metavar="PAYLOAD", help="0x… hex, or text.")] = "",
    policy: Annotated[
        str | None, typer.Option(metavar="POLICY", help="Such as '0 and 2 of {1,2,3}'; else the receiver's own.")
    ] = None,
    return_policy: Annotated[
        str | None, typer.Option(metavar="POLICY", help="At the origin; else the same attestation sets.")
    ] = None,
    deadline: Annotated[int, typer.Option(metavar="SECONDS", min=1, help="From now until it expires.")] = 86_400,
    after: Annotated[int, typer.Option(metavar="SECONDS", min=0, help="From now; not executed before.")] = 0,
    gas_limit: Annotated[
        int | None, typer.Option(metavar="GAS", min=1, help="For the receiver; else estimated.")
    ] = None,
    fee: Annotated[int, typer.Option(metavar="WEI", min=0, help="Of the origin's coin, for its delivery.")] = 0,
    depends_on: Annotated[
        int, typer.Option(metavar="NONCE", min=0, help="Of this lane; it must have executed first.")
    ] = 0,
    retry: Annotated[bool, typer.Option("--retry/--no-retry", help="A failing receiver is tried again.")] = True,
    cancellable: Annotated[bool, typer.Option("--cancellable", help="Allow its cancellation.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the outcome.")] = False,
    timeout: Annotated[float, typer.Option(metavar="SECONDS", min=0, help="To wait.")] = 120.0,
    key: KeyFlag = None,
    config: ConfigFlag = None,
    json: JsonFlag = False,
) -> None:
    """Send an envelope, and wait for its outcome.

    With --wait the exit code is 0 for executed, 5 for failed or expired, 6 for still undecided.
    """
    from comity.core.envelope import Flags
    from comity.core.types import Gas, Seconds, Wei
    from comity.sdk.client import Message

    message = Message(
        receiver=parse_address(receiver),
        payload=_parse_payload(payload),
        policy=parse_policy(policy) if policy else None,
        return_policy=parse_policy(return_policy) if return_policy else None,
        lifetime=Seconds(deadline),
        delay=Seconds(after),
        gas_limit=Gas(gas_limit) if gas_limit is not None else None,
        flags=(Flags.RETRYABLE if retry else Flags(0)) | (Flags.CANCELLABLE if cancellable else Flags(0)),
        depends_on=depends_on,
        fee=Wei(fee),
    )
    loaded = load(config)

    async def run(client: "Client") -> None:
        ends = client.find_lane(client.find_chain(origin), client.find_chain(destination))
        sent = await client.send(ends, read_signer(loaded, key), message)
        fields = _describe_sent(sent)
        if not json:
            emit_fields(fields | {"deliver_before": show_time(sent.envelope.deliver_before)})
        if wait:
            await _await_outcome(client, sent, fields, timeout, json)
        elif json:
            emit_json(fields)

    run_client(loaded, run)


async def _await_outcome(client: "Client", sent: "Sent", fields: dict[str, Any], seconds: float, json: bool) -> None:
    """Print the outcome; exit as it was. One JSON document tells all, whatever the outcome."""
    try:
        decision = await client.wait(sent, seconds)
    except NotReady:
        decision = None
    outcome = _describe_decision(decision)
    step = f"comity trace 0x{sent.id.hex()}"
    if json:
        step_field = {} if _is_well(decision) else {"next_step": complete_step(step, sys.argv)}
        emit_json(fields | outcome | step_field)
    else:
        emit_fields(_shorten_outcome(outcome))
    if decision is None:
        exit_after_output(NotReady(f"still undecided after {seconds:g} s", next_step=step))
    elif not _is_well(decision):
        exit_after_output(Rejected(f"the outcome is {outcome['outcome']}", next_step=step))


def _shorten_outcome(outcome: dict[str, Any]) -> dict[str, Any]:
    """Leave out what there is not, and a failure's raw data, whose reason is shown."""
    shown = {name: value for name, value in outcome.items() if value}
    if "reason" in shown:
        del shown["result"]
    elif "result" in shown:
        shown["result"] = show_result(outcome["result"])
    return shown or {"outcome": "undecided"}


def expire(
    *, identifier: IdentifierArgument, key: KeyFlag = None, config: ConfigFlag = None, json: JsonFlag = False
) -> None:
    """Give an undecided envelope past its deadline its receipt.

    It needs no proof: it works when every verifier is dead.
    """
    from comity.chain.bindings import decode_dispatched, encode_expire
    from comity.core.envelope import decode
    from comity.core.types import Address32, Hash32

    named = Hash32(parse_hash(identifier))
    loaded = load(config)

    async def run(client: "Client") -> None:
        found = await client.find_dispatch(named)
        if found is None:
            raise NotReady("no configured Router dispatched this", id=named, next_step="comity doctor")
        ends, log = found
        event = decode_dispatched(log)
        await _validate_expirable(client, ends, event.id, decode(event.envelope).deliver_before)
        wallet = client.get_wallet(ends.destination, read_signer(loaded, key))
        data = encode_expire(event.envelope, Address32(bytes(32)))
        receipt = await wallet.send(ends.destination.config.gate_address, data)
        fields = {"id": event.id, "lane": ends.name, "outcome": "expired", "transaction": receipt.transaction_hash}
        emit_json(fields) if json else emit_fields(fields)

    run_client(loaded, run)


async def _validate_expirable(client: "Client", ends: "LaneEnds", envelope_id: "EnvelopeId", deadline: int) -> None:
    """Refuse before any gas is paid. Raises: Rejected, NotReady."""
    shown = f"0x{envelope_id.hex()}"
    decision = await client.find_decision(ends, envelope_id)
    if decision is not None:
        outcome = decision.outcome.name.lower()
        raise Rejected("it is decided already", reason=outcome, next_step=f"comity trace {shown}")
    left = deadline - await ends.destination.fetch_time()
    if left >= 0:
        step = f"sleep {left + 1}; comity expire {shown}"
        raise NotReady(f"its deadline, {show_time(deadline)}, has not passed: {left} s to go", next_step=step)


def _is_well(decision: "Decision | None") -> bool:
    return decision is not None and decision.outcome.name in ("EXECUTED", "FILLED")


def _describe_sent(sent: "Sent") -> dict[str, Any]:
    return {
        "id": sent.id,
        "lane": sent.ends.name,
        "origin": sent.ends.origin.config.chain,
        "destination": sent.ends.destination.config.chain,
        "nonce": sent.envelope.nonce,
        "deliver_before": sent.envelope.deliver_before,
        "transaction": sent.transaction,
        "block": sent.block,
        "gas": sent.gas_used,
    }


def _describe_decision(decision: "Decision | None") -> dict[str, Any]:
    if decision is None:
        return {"outcome": None}
    from comity.chain.revert import decode_revert

    return {
        "outcome": decision.outcome.name.lower(),
        "result": decision.result,
        "reason": decode_revert(decision.result) if decision.outcome.name == "FAILED" else None,
        "receipt": decision.position,
        "decided_in": decision.transaction,
        "decided_block": decision.block,
    }


def load(config: str | None) -> "LoadedConfig":
    """Load the configuration, with the libraries' logs off. Raises: ConfigError."""
    from comity.config import load_config

    quiet_logs()
    return load_config(Path(config) if config else None)


def read_signer(loaded: "LoadedConfig", key: Path | None) -> "LocalSigner":
    """Load the key that people's commands sign with. Raises: ConfigError."""
    from comity.sdk.keys import load_signer

    return load_signer(key or loaded.resolve_key(loaded.config.key, "key"))


def run_client(loaded: "LoadedConfig", work: Any) -> None:
    """Run with a client of every configured chain."""
    from comity.sdk.client import Client

    async def inside() -> None:
        async with Client(loaded.config) as client:
            await work(client)

    asyncio.run(inside())


def parse_address(text: str) -> Any:
    """Read an address. Raises: BadParameter."""
    from comity.config import parse_address

    try:
        return parse_address(text, "address")
    except ConfigError as error:
        raise typer.BadParameter(str(error)) from None


def parse_policy(text: str) -> "Policy":
    """Read a policy. Raises: BadParameter."""
    from comity.core.policy import Policy

    try:
        return Policy.parse(text)
    except Invalid as error:
        raise typer.BadParameter(f"a policy is written like '0 and 2 of {{1,2,3}}': {error}") from None


def parse_hash(text: str) -> bytes:
    """Read an id or a transaction's hash. Raises: BadParameter."""
    try:
        raw = bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        raw = b""
    if len(raw) != 32:
        raise typer.BadParameter(f"an id is 0x and 64 hexadecimal digits, not {text}")
    return raw


def _parse_payload(text: str) -> bytes:
    if not text.startswith("0x"):
        return text.encode()
    try:
        return bytes.fromhex(text[2:])
    except ValueError:
        raise typer.BadParameter("the payload is not hexadecimal") from None
