"""`comity decode`: what calldata, an envelope or a receipt says, for people who look at a block explorer."""

from collections.abc import Callable
from typing import Annotated, Any

import typer

from comity.cli.output import JsonFlag, emit_json, get_console, show
from comity.core.errors import Invalid


def decode(
    *,
    data: Annotated[
        str, typer.Argument(metavar="DATA", help="0x…: calldata of deliver or expire, an envelope, or a receipt.")
    ],
    json: JsonFlag = False,
) -> None:
    """Decode what Router and Gate write and read; needs no chain."""
    try:
        raw = bytes.fromhex(data.removeprefix("0x"))
    except ValueError:
        raise typer.BadParameter("not hexadecimal") from None
    decoded = decode_bytes(raw)
    if json:
        emit_json(decoded)
    else:
        _print(decoded)


def decode_bytes(raw: bytes) -> dict[str, Any]:
    """Decode by the first reading that is canonical. Raises: Invalid when none is."""
    refusals: dict[str, str] = {}
    readings: dict[str, Callable[[bytes], dict[str, Any]]] = {
        "deliver": _decode_deliver,
        "expire": _decode_expire,
        "envelope": describe_envelope,
        "receipt": _decode_receipt,
    }
    for kind, read in readings.items():
        try:
            return {"kind": kind, **read(raw)}
        except Invalid as error:
            refusals[kind] = str(error)
    raise Invalid("neither calldata of deliver or expire, nor an envelope, nor a receipt", **refusals)


def describe_envelope(encoding: bytes) -> dict[str, Any]:
    """An envelope's id and fields."""
    from comity.core.envelope import compute_id, decode
    from comity.core.policy import Policy

    envelope = decode(encoding)
    return {
        "id": compute_id(encoding),
        "lane": envelope.lane,
        "nonce": envelope.nonce,
        "flags": [flag.name.lower() for flag in envelope.flags if flag.name],
        "sender": envelope.sender,
        "receiver": envelope.receiver,
        "deliver_after": envelope.deliver_after,
        "deliver_before": envelope.deliver_before,
        "depends_on": envelope.depends_on,
        "gas_limit": envelope.gas_limit,
        "policy": str(Policy.from_word(envelope.policy)),
        "return_policy": str(Policy.from_word(envelope.return_policy)),
        "fee": envelope.fee,
        "failed_share_bps": envelope.failed_share_bps,
        "callback_gas": envelope.callback_gas,
        "refund_to": envelope.refund_to,
        "assets": len(envelope.assets),
        "conditions": len(envelope.conditions),
        "payload": envelope.payload,
    }


def _decode_deliver(calldata: bytes) -> dict[str, Any]:
    from comity.chain.bindings import DELIVER
    from comity.core.delivery import decode_body, is_envelope
    from comity.core.lane import unpack_word
    from comity.core.types import Accumulator, Address32

    if calldata[:4] != DELIVER or len(calldata) < 132:
        raise Invalid("not calldata of deliver")
    length = int.from_bytes(calldata[100:132], "big")
    before = Accumulator(int.from_bytes(calldata[4:36], "big"))
    delivery = decode_body(before, Address32(calldata[36:68]), calldata[132 : 132 + length])
    nonce, accumulator = unpack_word(delivery.word)
    return {
        "before": f"0x{before:054x}",
        "beneficiary": delivery.beneficiary,
        "proofs": {str(index): _describe_proof(proof) for index, proof in sorted(delivery.proofs.items())},
        "word": {"nonce": nonce, "accumulator": f"0x{accumulator:054x}"},
        "entries_after_the_run": len(delivery.suffix),
        "entries": [
            describe_envelope(entry) if is_envelope(entry) else {"id": entry, "bare": True}
            for entry in delivery.entries
        ],
    }


def _describe_proof(proof: bytes) -> dict[str, Any]:
    from comity.core.attestation import decode_proof

    try:
        decoded = decode_proof(proof)
    except Invalid:
        return {"bytes": len(proof)}
    return {
        "bytes": len(proof),
        "epoch": decoded.epoch,
        "threshold": decoded.threshold,
        "members": decoded.member_count,
        "signed_by_members": [i for i in range(decoded.member_count) if decoded.bitmap >> i & 1],
    }


def _decode_expire(calldata: bytes) -> dict[str, Any]:
    from comity.chain.bindings import EXPIRE

    if calldata[:4] != EXPIRE or len(calldata) < 100:
        raise Invalid("not calldata of expire")
    length = int.from_bytes(calldata[68:100], "big")
    return {"beneficiary": calldata[36:68], "envelope": describe_envelope(calldata[100 : 100 + length])}


def _decode_receipt(encoding: bytes) -> dict[str, Any]:
    from comity.core.receipt import decode

    receipt = decode(encoding)
    return {
        "outcome": receipt.outcome.name.lower(),
        "position": receipt.position,
        "envelope_id": receipt.envelope_id,
        "beneficiary": receipt.beneficiary,
        "result": receipt.result,
        "entry": receipt.entry,
    }


def _print(decoded: dict[str, Any], indent: int = 0) -> None:
    console = get_console()
    for name, value in decoded.items():
        margin = " " * indent
        if isinstance(value, dict):
            console.print(f"{margin}{name}", markup=False)
            _print(value, indent + 2)
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            for index, entry in enumerate(value):
                console.print(f"{margin}{name}[{index}]", markup=False)
                _print(entry, indent + 2)
        else:
            text = value if isinstance(value, int) else show(value)
            console.print(f"{margin}{name}: {text}", markup=False)
