"""Envelope vectors against the code, and against an encoder that shares nothing with it."""

import pytest
from vector_files import cases, hash_independently, unhex

from comity.core import envelope
from comity.core.envelope import Asset, Condition, Envelope, Flags, decode


def read_fields(fields):
    small = ("nonce", "deliver_after", "deliver_before", "depends_on", "gas_limit", "failed_share_bps", "callback_gas")
    return Envelope(
        flags=Flags(fields["flags"]),
        **{name: fields[name] for name in small},
        **{name: int(fields[name], 16) for name in ("policy", "return_policy", "fee")},
        **{name: unhex(fields[name]) for name in ("lane", "sender", "receiver", "refund_to", "payload")},
        assets=tuple(
            Asset(unhex(a["token_in"]), int(a["amount_in"], 16), unhex(a["token_out"]), int(a["amount_out"], 16))
            for a in fields["assets"]
        ),
        conditions=tuple(
            Condition(unhex(c["target"]), int(c["low"], 16), int(c["high"], 16), unhex(c["calldata"]))
            for c in fields["conditions"]
        ),
    )


def encode_independently(fields):
    """The byte table of the specification, in hex, straight from the JSON."""
    f = fields
    payload = f["payload"][2:]
    text = f"01{f['flags']:02x}{f['nonce']:010x}{f['deliver_after']:010x}{f['deliver_before']:010x}"
    text += f"{f['depends_on']:010x}{f['gas_limit']:08x}{len(f['assets']):02x}{len(f['conditions']):02x}"
    text += f"{len(payload) // 2:08x}{f['lane'][2:]}{f['sender'][2:]}{f['receiver'][2:]}"
    text += f"{int(f['policy'], 16):064x}{int(f['return_policy'], 16):064x}{f['refund_to'][2:]}"
    text += f"{int(f['fee'], 16):032x}{f['failed_share_bps']:04x}{f['callback_gas']:08x}"
    for a in f["assets"]:
        text += f"{a['token_in'][2:]}{int(a['amount_in'], 16):064x}{a['token_out'][2:]}{int(a['amount_out'], 16):064x}"
    for c in f["conditions"]:
        text += f"{c['target'][2:]}{int(c['low'], 16):064x}{int(c['high'], 16):064x}"
        text += f"{(len(c['calldata']) - 2) // 2:04x}{c['calldata'][2:]}"
    return bytes.fromhex(text + payload)


@pytest.mark.parametrize("case", cases("envelope", "valid"))
def test_valid_envelope_encodes_decodes_and_hashes(case):
    encoding, fields = unhex(case["encoding"]), read_fields(case["fields"])
    assert encode_independently(case["fields"]) == encoding
    assert hash_independently(encoding) == unhex(case["id"])
    assert fields.encode() == encoding
    assert fields.id == unhex(case["id"])
    assert decode(encoding) == fields


@pytest.mark.parametrize("case", cases("envelope", "valid"))
def test_router_arguments_rebuild_the_envelope(case):
    """Terms, settlement and tail hold everything that the Router does not know by itself."""
    fields, encoding, tail = read_fields(case["fields"]), unhex(case["encoding"]), unhex(case["tail"])
    head = int(case["terms"], 16) | 1 << 248 | fields.nonce << 200 | len(fields.payload)
    settlement = fields.fee << 48 | int(case["settlement"], 16)
    rebuilt = head.to_bytes(32, "big") + encoding[32:224] + settlement.to_bytes(22, "big") + tail
    assert rebuilt == encoding
    assert envelope.compute_terms(fields) == int(case["terms"], 16)
    assert envelope.compute_settlement(fields) == int(case["settlement"], 16)
    assert envelope.encode_tail(fields) == tail


@pytest.mark.parametrize("case", cases("envelope", "invalid"))
def test_invalid_envelope_is_refused_for_its_reason(case):
    with pytest.raises(getattr(envelope, case["error"])) as raised:
        decode(unhex(case["encoding"]))
    assert type(raised.value).__name__ == case["error"]
    assert raised.value.values
