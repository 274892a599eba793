"""`comity policy`: under which proof a receiver takes calls from a lane."""

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from comity.cli.envelopes import (
    DestinationArgument,
    KeyFlag,
    OriginArgument,
    ReceiverArgument,
    load,
    parse_address,
    parse_policy,
    read_signer,
    run_client,
)
from comity.cli.output import ConfigFlag, JsonFlag, emit_fields, emit_json, emit_table
from comity.core.errors import ConfigError

if TYPE_CHECKING:
    from comity.core.policy import Policy
    from comity.sdk.client import Chain, Client

app = typer.Typer(help="Show or set the policy under which a receiver takes calls.", no_args_is_help=True)


@app.command("set")
def policy_set(
    *,
    origin: OriginArgument,
    destination: DestinationArgument,
    receiver: ReceiverArgument,
    policy: Annotated[
        str, typer.Argument(metavar="POLICY", help="Such as '0 and 2 of {1,2,3}'; 'none' takes no calls.")
    ],
    key: KeyFlag = None,
    config: ConfigFlag = None,
    json: JsonFlag = False,
) -> None:
    """Set a receiver's policy for the lane from ORIGIN, as its owner."""
    from comity.chain.bindings import encode_set_policy

    parsed = None if policy == "none" else parse_policy(policy)
    address = parse_address(receiver)
    loaded = load(config)

    async def run(client: "Client") -> None:
        ends = client.find_lane(client.find_chain(origin), client.find_chain(destination))
        if parsed is not None:
            _validate_known(ends.destination, parsed)
        wallet = client.get_wallet(ends.destination, read_signer(loaded, key))
        data = encode_set_policy(ends.lane, address, parsed.word if parsed else 0)
        receipt = await wallet.send(ends.destination.config.gate_address, data)
        fields = {"lane": ends.name, "receiver": address, "policy": policy, "transaction": receipt.transaction_hash}
        emit_json(fields) if json else emit_fields(fields)

    run_client(loaded, run)


@app.command("show")
def policy_show(
    *,
    receiver: ReceiverArgument,
    destination: DestinationArgument,
    config: ConfigFlag = None,
    json: JsonFlag = False,
) -> None:
    """Show a receiver's policy for every lane that ends at DESTINATION."""
    address = parse_address(receiver)

    async def run(client: "Client") -> None:
        target = client.find_chain(destination)
        rows = await _list_policies(client, target, address)
        verifiers = target.describe_verifiers()
        if json:
            emit_json({"receiver": address, "verifiers": verifiers, "policies": rows})
        else:
            sys.stdout.write(f"{receiver} on {target.name} ({target.config.chain}); verifiers: {verifiers}\n")
            emit_table("", ("lane", "policy"), [[row["lane"], row["policy"] or "none: no calls"] for row in rows])

    run_client(load(config), run)


def _validate_known(target: "Chain", policy: "Policy") -> None:
    """A Gate refuses a policy that names no registered verifier; say which there are."""
    if max(policy.required | policy.optional) >= len(target.config.verifiers):
        known = target.describe_verifiers()
        raise ConfigError("the policy names a verifier that is not configured", policy=str(policy), known=known)


async def _list_policies(client: "Client", target: "Chain", receiver: Any) -> list[dict[str, str | None]]:
    from comity.chain.bindings import decode_uint, encode_policy_of
    from comity.core.policy import Policy
    from comity.sdk.client import TIERED

    rows: list[dict[str, str | None]] = []
    for ends in client.list_lanes():
        if ends.destination.name == target.name:
            word = decode_uint(await target.call(target.config.gate_address, encode_policy_of(ends.lane, receiver)))
            text = None if word == 0 else "tiers" if word == TIERED else str(Policy.from_word(word))
            rows.append({"lane": ends.name, "policy": text})
    return rows
