"""`comity send`, `trace`, `expire` and `policy`: one envelope's life, and who may be called."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from comity.cli.output import ConfigFlag, JsonFlag, emit_json, emit_table, get_console, show
from comity.core.errors import ConfigError, NotReady, Rejected

if TYPE_CHECKING:
    from comity.chain.signer import LocalSigner
    from comity.config import LoadedConfig
    from comity.sdk.client import Client, Decision, Sent
    from comity.sdk.trace import Trace

policy_app = typer.Typer(help="Show or set the policy under which a receiver takes calls.", no_args_is_help=True)

OriginArgument = Annotated[str, typer.Argument(metavar="ORIGIN", help="Chain: name, CAIP-2 id or number.")]
DestinationArgument = Annotated[str, typer.Argument(metavar="DESTINATION", help="Chain: name, CAIP-2 id or number.")]
ReceiverArgument = Annotated[str, typer.Argument(metavar="RECEIVER", help="Contract at the destination, 0x….")]
KeyFlag = Annotated[Path | None, typer.Option("--key", metavar="FILE", help="Key file to sign with.")]


def send(
    *,
    origin: OriginArgument,
    destination: DestinationArgument,
    receiver: ReceiverArgument,
    payload: Annotated[str, typer.Argument(help="0x… hex, or text.")] = "",
    policy: Annotated[str | None, typer.Option(help="Such as '0 and 2 of {1,2,3}'; else the receiver's own.")] = None,
    return_policy: Annotated[str | None, typer.Option(help="At the origin; else the same attestation sets.")] = None,
    deadline: Annotated[int, typer.Option(help="Seconds from now until it expires.")] = 86_400,
    after: Annotated[int, typer.Option(help="Seconds from now before which it is not executed.")] = 0,
    gas_limit: Annotated[int | None, typer.Option(help="Gas for the receiver; else estimated.")] = None,
    fee: Annotated[int, typer.Option(help="Wei of the origin's coin for its delivery.")] = 0,
    depends_on: Annotated[int, typer.Option(help="Nonce of this lane that must have executed first.")] = 0,
    retry: Annotated[bool, typer.Option("--retry/--no-retry", help="A failing receiver is tried again.")] = True,
    cancellable: Annotated[bool, typer.Option("--cancellable", help="Allow its cancellation.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the outcome.")] = False,
    timeout: Annotated[float, typer.Option(help="Seconds to wait.")] = 120.0,
    key: KeyFlag = None,
    config: ConfigFlag = None,
    json: JsonFlag = False,
) -> None:
    """Send an envelope, and with --wait learn its outcome: exit code 0 executed, 5 failed or expired, 6 undecided."""
    from comity.core.envelope import Flags
    from comity.core.policy import Policy
    from comity.core.types import Gas, Seconds, Wei
    from comity.sdk.client import Message

    loaded = _load(config)
    message = Message(
        receiver=_parse_address(receiver),
        payload=_parse_payload(payload),
        policy=Policy.parse(policy) if policy else None,
        return_policy=Policy.parse(return_policy) if return_policy else None,
        lifetime=Seconds(deadline),
        delay=Seconds(after),
        gas_limit=Gas(gas_limit) if gas_limit is not None else None,
        flags=(Flags.RETRYABLE if retry else Flags(0)) | (Flags.CANCELLABLE if cancellable else Flags(0)),
        depends_on=depends_on,
        fee=Wei(fee),
    )

    async def run(client: "Client") -> None:
        ends = client.find_lane(client.find_chain(origin), client.find_chain(destination))
        sent = await client.send(ends, _load_signer(loaded, key), message)
        if not wait:
            _emit(_describe_sent(sent), json)
            return
        decision = await client.wait(sent, timeout)
        if decision.outcome.name not in ("EXECUTED", "FILLED"):
            raise Rejected(
                f"the outcome is {decision.outcome.name.lower()}",
                reason=_decode_reason(decision.result),
                id=sent.id,
                next_step=f"comity trace 0x{sent.id.hex()}",
            )
        _emit(_describe_sent(sent) | _describe_decision(decision), json)

    _run(loaded, run)


def trace(
    *,
    identifier: Annotated[str, typer.Argument(metavar="ID|TX", help="Envelope id, or the transaction that sent it.")],
    config: ConfigFlag = None,
    json: JsonFlag = False,
) -> None:
    """Tell where an envelope is, stage by stage; when it is stuck, why, and the next command."""
    from comity.sdk.trace import trace as build_trace

    named = _parse_hash(identifier)

    async def run(client: "Client") -> None:
        story = await build_trace(client, named)
        if json:
            emit_json(describe_trace(story))
        else:
            print_trace(story)
        if story.outcome is None:
            raise typer.Exit(NotReady.exit_code)

    _run(_load(config), run)


def expire(
    *,
    identifier: Annotated[str, typer.Argument(metavar="ID|TX", help="Envelope id, or the transaction that sent it.")],
    key: KeyFlag = None,
    config: ConfigFlag = None,
    json: JsonFlag = False,
) -> None:
    """Give an undecided envelope past its deadline its EXPIRED receipt; it needs no verifier."""
    from comity.chain.bindings import decode_dispatched, encode_expire
    from comity.core.types import Address32, Hash32

    named = Hash32(_parse_hash(identifier))
    loaded = _load(config)

    async def run(client: "Client") -> None:
        found = await client.find_dispatch(named)
        if found is None:
            raise NotReady("no configured Router dispatched this", id=named)
        ends, log = found
        event = decode_dispatched(log)
        wallet = client.get_wallet(ends.destination, _load_signer(loaded, key))
        data = encode_expire(event.envelope, Address32(bytes(32)))
        receipt = await wallet.send(ends.destination.config.gate_address, data)
        _emit({"id": event.id, "outcome": "expired", "transaction": receipt.transaction_hash}, json)

    _run(loaded, run)


@policy_app.command("set")
def policy_set(
    *,
    origin: OriginArgument,
    destination: DestinationArgument,
    receiver: ReceiverArgument,
    policy: Annotated[str, typer.Argument(help="Such as '0 and 2 of {1,2,3}'; 'none' takes no calls.")],
    key: KeyFlag = None,
    config: ConfigFlag = None,
    json: JsonFlag = False,
) -> None:
    """Set a receiver's policy for the lane from ORIGIN, as the receiver's owner."""
    from comity.chain.bindings import encode_set_policy
    from comity.core.policy import Policy

    loaded = _load(config)
    word = 0 if policy == "none" else Policy.parse(policy).word

    async def run(client: "Client") -> None:
        ends = client.find_lane(client.find_chain(origin), client.find_chain(destination))
        wallet = client.get_wallet(ends.destination, _load_signer(loaded, key))
        data = encode_set_policy(ends.lane, _parse_address(receiver), word)
        receipt = await wallet.send(ends.destination.config.gate_address, data)
        _emit({"lane": ends.lane, "policy": policy, "transaction": receipt.transaction_hash}, json)

    _run(loaded, run)


@policy_app.command("show")
def policy_show(
    *,
    receiver: ReceiverArgument,
    destination: DestinationArgument,
    config: ConfigFlag = None,
    json: JsonFlag = False,
) -> None:
    """Show a receiver's policy for every lane that ends at DESTINATION."""

    async def run(client: "Client") -> None:
        rows = await _list_policies(client, destination, _parse_address(receiver))
        if json:
            emit_json({"receiver": receiver, "policies": rows})
        else:
            columns = ("lane", "policy", "verifiers")
            emit_table(f"policy of {receiver}", columns, [[row[name] for name in columns] for row in rows])

    _run(_load(config), run)


async def _list_policies(client: "Client", destination: str, receiver: Any) -> list[dict[str, str]]:
    from comity.chain.bindings import decode_uint, encode_policy_of
    from comity.core.policy import Policy
    from comity.sdk.client import TIERED

    target = client.find_chain(destination)
    names = [f"{index} {verifier.set}" for index, verifier in enumerate(target.config.verifiers)]
    rows = []
    for ends in client.list_lanes():
        if ends.destination.name != target.name:
            continue
        word = decode_uint(await target.call(target.config.gate_address, encode_policy_of(ends.lane, receiver)))
        text = "none: takes no calls" if word == 0 else "tiers" if word == TIERED else str(Policy.from_word(word))
        rows.append({"lane": ends.name, "policy": text, "verifiers": ", ".join(names)})
    return rows


def describe_trace(story: "Trace") -> dict[str, Any]:
    """A trace as JSON tells it."""
    return {
        "id": story.id,
        "lane": story.lane,
        "nonce": story.envelope.nonce,
        "outcome": story.outcome.name.lower() if story.outcome else None,
        "stages": [
            {
                "name": stage.name,
                "chain": stage.chain,
                "done": stage.is_done,
                "block": stage.block,
                "time": stage.time,
                **stage.details,
            }
            for stage in story.stages
        ],
        "obstacles": [{"why": obstacle.why, "next_step": obstacle.next_step} for obstacle in story.obstacles],
    }


def print_trace(story: "Trace", console: Any = None) -> None:
    """Print a trace for people."""
    from rich.tree import Tree

    outcome = story.outcome.name.lower() if story.outcome else "undecided"
    tree = Tree(f"[bold]envelope 0x{story.id.hex()}[/bold]\n{story.lane} · nonce {story.envelope.nonce} · {outcome}")
    for stage in story.stages:
        mark = "[green]✓[/green]" if stage.is_done else "[yellow]…[/yellow]"
        place = f" block {stage.block}" if stage.block is not None else ""
        branch = tree.add(f"{mark} [bold]{stage.name}[/bold] · {stage.chain}{place}")
        for name, value in stage.details.items():
            if value is None or value == b"":
                continue
            branch.add(f"{name}: {_show_detail(value)}")
    for obstacle in story.obstacles:
        tree.add(f"[yellow]{obstacle.why}[/yellow]\n→ {obstacle.next_step}")
    (console or get_console()).print(tree)


def _show_detail(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_show_detail(inner)}" for name, inner in value.items())
    if isinstance(value, list):
        return " ".join(show(inner) for inner in value) or "nobody"
    return show(value)


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


def _describe_decision(decision: "Decision") -> dict[str, Any]:
    return {
        "outcome": decision.outcome.name.lower(),
        "result": decision.result,
        "receipt": decision.position,
        "delivered_in": decision.transaction,
        "delivered_block": decision.block,
    }


def _decode_reason(result: bytes) -> str:
    from comity.chain.revert import decode_revert

    return decode_revert(result)


def _emit(fields: dict[str, Any], as_json: bool) -> None:
    if as_json:
        emit_json(fields)
    else:
        console = get_console()
        for name, value in fields.items():
            console.print(f"{name:>16}  {value if isinstance(value, int) else show(value)}", markup=False)


def _load(config: str | None) -> "LoadedConfig":
    from comity.config import load_config

    return load_config(Path(config) if config else None)


def _load_signer(loaded: "LoadedConfig", key: Path | None) -> "LocalSigner":
    from comity.sdk.keys import load_signer

    return load_signer(key or loaded.resolve_key(loaded.config.key, "key"))


def _run(loaded: "LoadedConfig", work: Any) -> None:
    from comity.sdk.client import Client

    async def inside() -> None:
        async with Client(loaded.config) as client:
            await work(client)

    asyncio.run(inside())


def _parse_address(text: str) -> Any:
    from comity.config import parse_address

    try:
        return parse_address(text, "address")
    except ConfigError as error:
        raise typer.BadParameter(str(error)) from None


def _parse_payload(text: str) -> bytes:
    if not text.startswith("0x"):
        return text.encode()
    try:
        return bytes.fromhex(text[2:])
    except ValueError:
        raise typer.BadParameter("the payload is not hexadecimal") from None


def _parse_hash(text: str) -> bytes:
    try:
        raw = bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        raw = b""
    if len(raw) != 32:
        raise typer.BadParameter(f"an id is 0x and 64 hexadecimal digits, not {text}")
    return raw
