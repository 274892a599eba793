"""Cases of lane.json and receipt.json."""

from dataclasses import replace

import vector_format
from vector_format import Case, refusals, show

from comity.core import interop_address, lane, receipt
from comity.core.errors import Invalid
from comity.core.keccak import keccak
from comity.core.receipt import Receipt
from comity.core.types import Direction, Outcome, to_address32

ENVELOPE_ID = keccak(b"an envelope")
BENEFICIARY = b"\xc3" * 20
ORIGIN = 31337


def build_lane() -> Case:
    """lane.json."""
    parts = {
        "two development chains": (31337, to_address32(b"\xa1" * 20), 31338, to_address32(b"\xb2" * 20)),
        "the same pair, the other way": (31338, to_address32(b"\xb2" * 20), 31337, to_address32(b"\xa1" * 20)),
        "to a chain outside eip155": (
            1,
            b"\x11" * 32,
            interop_address.chain_id_from_caip2("starknet:SN_MAIN"),
            b"\x22" * 32,
        ),
    }
    lanes = [
        {
            "name": name,
            "origin": hex(origin),
            "router": show(router),
            "destination": hex(destination),
            "gate": show(gate),
            "lane": show(lane.compute_lane(origin, router, destination, gate)),
            "seeds": [
                hex(lane.compute_seed(lane.compute_lane(origin, router, destination, gate), direction))
                for direction in Direction
            ],
        }
        for name, (origin, router, destination, gate) in parts.items()
    ]
    seed = lane.compute_seed(vector_format.LANE, Direction.DISPATCHES)
    entries = [keccak(bytes([i])) for i in range(6)]
    words = [lane.pack_word(0, seed)]
    for entry in entries[:3]:
        words.append(lane.extend_word(words[-1], entry))
    starts = [*words[:3], lane.pack_word(63, seed), lane.pack_word(lane.MAX_NONCE - 1, lane.Accumulator(1))]
    steps = [
        {
            "name": f"nonce {word >> 216}",
            "word": hex(word),
            "entry": show(entry),
            "after": hex(lane.extend_word(word, entry)),
        }
        for word, entry in zip(starts, entries, strict=False)
    ]
    runs = [
        run_case("one entry from the seed", seed, 1, entries[:1], []),
        run_case("three entries", seed, 1, entries[:3], []),
        run_case("the same word, with a suffix", seed, 1, entries[:1], entries[1:3]),
        run_case("from the middle", words[2] & (1 << 216) - 1, 3, entries[2:4], entries[4:]),
    ]
    mask = (1 << 216) - 1
    invalid = [
        run_refusal("no entries", seed, 1, [], [entries[0]], error=lane.RunEmpty),
        run_refusal("accumulator 0", 0, 1, entries[:1], [], error=lane.AccumulatorOutOfRange),
        run_refusal("accumulator of 217 bits", mask + 1, 1, entries[:1], [], error=lane.AccumulatorOutOfRange),
        run_refusal("position 0", seed, 0, entries[:1], [], error=lane.NonceOutOfRange),
        run_refusal("past the last nonce", seed, lane.MAX_NONCE, entries[:2], [], error=lane.NonceOutOfRange),
        run_refusal("an entry of 31 bytes", seed, 1, [entries[0][:31]], [], error=lane.EntryLengthMismatch),
        run_refusal("an entry of 33 bytes", seed, 1, [entries[0] + b"\0"], [], error=lane.EntryLengthMismatch),
    ]
    return {"lanes": lanes, "steps": steps, "runs": runs, "invalid": invalid}


def run_case(name: str, before: int, first: int, entries: list[bytes], suffix: list[bytes]) -> Case:
    """A run and its word."""
    return {
        **show_run(name, before, first, entries, suffix),
        "word": hex(lane.compute_word(before, first, entries, suffix)),
    }


def run_refusal(
    name: str, before: int, first: int, entries: list[bytes], suffix: list[bytes], *, error: type[Invalid]
) -> Case:
    """A run that must be refused."""
    return {**show_run(name, before, first, entries, suffix), "error": error.__name__}


def show_run(name: str, before: int, first: int, entries: list[bytes], suffix: list[bytes]) -> Case:
    """A run as JSON."""
    shown = {"entries": [show(entry) for entry in entries], "suffix": [show(entry) for entry in suffix]}
    return {"name": name, "before": hex(before), "first_nonce": first, **shown}


def build_receipt() -> Case:
    """receipt.json."""
    template = Receipt(ORIGIN, Outcome.EXECUTED, 1, ENVELOPE_ID, BENEFICIARY, receipt.compute_result(b"reply"))
    valid = {
        **{o.name.lower(): replace(template, outcome=o, position=o.value) for o in Outcome},
        "no result, zero beneficiary": replace(template, beneficiary=bytes(20), result=receipt.NO_RESULT),
        "the last position": replace(template, position=(1 << 40) - 1),
    }
    encoding = template.encode()
    broken = (
        ("no bytes", b"", receipt.ReceiptLengthMismatch),
        ("cut short", encoding[:-1], receipt.ReceiptLengthMismatch),
        ("a trailing byte", encoding + b"\0", receipt.ReceiptLengthMismatch),
        ("the version of an envelope", b"\x01" + encoding[1:], receipt.ReceiptTypeMismatch),
        ("no type", bytes(32) + encoding[32:], receipt.ReceiptTypeMismatch),
        ("outcome 0", encoding[:63] + b"\0" + encoding[64:], receipt.OutcomeUnknown),
        ("outcome 6", encoding[:63] + b"\x06" + encoding[64:], receipt.OutcomeUnknown),
        ("position 0", encoding[:58] + bytes(5) + encoding[63:], receipt.PositionOutOfRange),
        ("origin 0", encoding[:32] + bytes(6) + encoding[38:], receipt.OriginOutOfRange),
    )
    return {
        "valid": [
            {
                "name": name,
                "fields": {
                    "origin": int(fields.origin),
                    "outcome": int(fields.outcome),
                    "position": fields.position,
                    "envelope_id": show(fields.envelope_id),
                    "beneficiary": show(fields.beneficiary),
                    "result": show(fields.result),
                },
                "encoding": show(fields.encode()),
                "entry": show(fields.entry),
            }
            for name, fields in valid.items()
        ],
        "results": [
            {"name": name, "bytes": show(data), "result": show(receipt.compute_result(data))}
            for name, data in {"none": b"", "a zero byte": b"\0", "a reply": b"reply"}.items()
        ],
        "invalid": refusals(iter(broken)),
    }
