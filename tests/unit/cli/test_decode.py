"""`comity decode`: what calldata and encodings say to a reader."""

import json

import pytest

from comity.chain.bindings import encode_deliver, encode_expire
from comity.cli import main
from comity.cli.decode import decode_bytes
from comity.core.delivery import Delivery, encode_body
from comity.core.envelope import Envelope, Flags
from comity.core.errors import Invalid
from comity.core.lane import compute_seed
from comity.core.types import Address32, Direction, Gas, Lane, Seconds, Wei

LANE = Lane(b"\x11" * 32)
BENEFICIARY = Address32(bytes(12) + b"\x22" * 20)


@pytest.fixture
def envelope() -> Envelope:
    return Envelope(
        lane=LANE,
        nonce=1,
        flags=Flags.RETRYABLE | Flags.CANCELLABLE,
        sender=Address32(bytes(12) + b"\x33" * 20),
        receiver=Address32(bytes(12) + b"\x44" * 20),
        deliver_before=Seconds(2_000_000_000),
        gas_limit=Gas(100_000),
        policy=1,
        return_policy=1,
        fee=Wei(5),
        payload=b"hello",
    )


def test_calldata_of_deliver_shows_the_run_and_its_word(envelope: Envelope) -> None:
    delivery = Delivery(
        compute_seed(LANE, Direction.DISPATCHES), BENEFICIARY, {0: b"proof"}, (envelope.encode(), b"\x55" * 32)
    )
    decoded = decode_bytes(encode_deliver(delivery.before, BENEFICIARY, encode_body(delivery)))
    assert decoded["kind"] == "deliver"
    assert decoded["beneficiary"] == BENEFICIARY
    assert decoded["proofs"] == {"0": {"bytes": 5}}
    assert decoded["word"]["nonce"] == 2
    assert [entry["id"] for entry in decoded["entries"]] == [envelope.id, b"\x55" * 32]
    assert decoded["entries"][0]["flags"] == ["retryable", "cancellable"]
    assert decoded["entries"][0]["payload"] == b"hello"


def test_calldata_of_expire_shows_the_envelope(envelope: Envelope) -> None:
    decoded = decode_bytes(encode_expire(envelope.encode(), BENEFICIARY))
    assert (decoded["kind"], decoded["envelope"]["id"]) == ("expire", envelope.id)


def test_a_bare_envelope_is_recognised(envelope: Envelope) -> None:
    assert decode_bytes(envelope.encode())["id"] == envelope.id


def test_anything_else_is_refused_with_every_reason(envelope: Envelope) -> None:
    with pytest.raises(Invalid) as refused:
        decode_bytes(envelope.encode() + b"\0")
    assert set(refused.value.values) == {"deliver", "expire", "envelope", "receipt"}


def test_json_output_is_one_object_on_stdout(envelope: Envelope, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["decode", "0x" + envelope.encode().hex(), "--json"])
    assert not ended.value.code
    assert json.loads(capsys.readouterr().out)["id"] == "0x" + envelope.id.hex()
