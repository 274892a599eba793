"""The worked examples of the specification are what the code computes.

An example is the fenced block after `<!-- example: name -->`: lines of `name = hex`, or of `hex  meaning` that together
are an encoding.
"""

import re
from pathlib import Path

import pytest

from comity.core import envelope
from comity.core.attestation import AttestationSet, compute_digest, compute_domain, decode_proof, encode_proof
from comity.core.checkpoint import Checkpoint
from comity.core.delivery import Delivery, encode_body
from comity.core.envelope import Condition, Envelope, Flags
from comity.core.finality import FINALIZED
from comity.core.lane import compute_lane, compute_seed, compute_word, extend, extend_word, pack_word
from comity.core.policy import Policy, is_satisfied
from comity.core.receipt import Receipt, compute_result
from comity.core.types import Direction, Outcome, to_address32

SPEC = Path(__file__).parents[2] / "spec"
PAGES = ("envelope.md", "lane.md", "verification.md")

ROUTER = to_address32(b"\xa1" * 20)
GATE = to_address32(b"\xb2" * 20)
LANE = compute_lane(31337, ROUTER, 31338, GATE)
SENDER = to_address32(b"\xc3" * 20)
RECEIVER = to_address32(b"\xd4" * 20)
SEED = compute_seed(LANE, Direction.DISPATCHES)
ENVELOPE = Envelope(
    lane=LANE,
    nonce=1,
    flags=Flags.RETRYABLE,
    sender=SENDER,
    receiver=RECEIVER,
    deliver_before=1_800_000_000,
    gas_limit=200_000,
    policy=Policy(frozenset({0})).word,
    return_policy=Policy(frozenset({0}), frozenset({1, 2, 3}), 2).word,
    fee=10**15,
    conditions=(Condition(to_address32(b"\xe5" * 20), 1, 10**18, bytes.fromhex("18160ddd")),),
    payload=b"comity",
)
SECOND = compute_result(b"a second envelope")
WORD = compute_word(SEED, 1, [ENVELOPE.id], [SECOND])
CHECKPOINT = Checkpoint(LANE, Direction.DISPATCHES, WORD)
RECEIPT = Receipt(31337, Outcome.EXECUTED, 1, ENVELOPE.id, b"\xf6" * 20, compute_result(b"done"))
SET = AttestationSet(1, 2, FINALIZED.code, tuple(bytes([i]) * 20 for i in (0x11, 0x22, 0x33)))
VERIFIER = b"\x77" * 20
SIGNATURE = bytes(31) + b"\x05" + b"\x80" + bytes(30) + b"\x06"
PROOF = encode_proof(SET, {SET.members[0]: SIGNATURE, SET.members[2]: SIGNATURE})
DELIVERY = Delivery(SEED, proofs={0: PROOF}, entries=(ENVELOPE.encode(),), suffix=(SECOND,))


def cut(encoding, *parts):
    """Lines of an encoding, cut into parts of these lengths; the last takes the rest."""
    lines, offset = [], 0
    for length, meaning in parts:
        end = len(encoding) if length is None else offset + length
        lines.append(f"{encoding[offset:end].hex()}  {meaning}")
        offset = end
    assert offset == len(encoding)
    return lines


def show(**values):
    """Lines of named values."""
    texts = {name: value.hex() if isinstance(value, bytes) else f"{value:x}" for name, value in values.items()}
    return [f"{name} = 0x{text}" for name, text in texts.items()]


def build_envelope():
    head = ((1, "version"), (1, "flags: RETRYABLE"), (5, "nonce"), (5, "deliver_after"), (5, "deliver_before"))
    head += ((5, "depends_on"), (4, "gas_limit"), (1, "asset_count"), (1, "condition_count"), (4, "payload_length"))
    fixed = [(32, name) for name in ("lane", "sender", "receiver", "policy: 0", "return_policy: 0 and 2 of {1,2,3}")]
    fixed += [(32, "refund_to: the sender"), (16, "fee"), (2, "failed_share_bps"), (4, "callback_gas")]
    condition = ((32, "target"), (32, "low"), (32, "high"), (2, "calldata_length"), (4, "calldata"))
    return cut(ENVELOPE.encode(), *head, *fixed, *condition, (None, "payload"))


def build_lane():
    word = pack_word(0, SEED)
    receipts = compute_seed(LANE, Direction.RECEIPTS)
    return [
        "origin = 31337",
        *show(router=ROUTER),
        "destination = 31338",
        *show(gate=GATE, lane=LANE, seed_of_dispatches=SEED, seed_of_receipts=receipts, word_of_dispatches=word),
        *show(entry=ENVELOPE.id, accumulator=extend(SEED, ENVELOPE.id), word=extend_word(word, ENVELOPE.id)),
        *show(following_entry=SECOND, word_with_it=WORD),
    ]


def build_proof():
    header = ((4, "epoch"), (1, "threshold"), (4, "finality: finalized"), (1, "member_count"), (4, "bitmap"))
    decode_proof(PROOF)
    return cut(PROOF, *header, (20, "the absent member"), (64, "r, s of the first"), (64, "r, s of the third"))


def build_body():
    header = ((2, "pad_length"), (3, "proofs_length"), (1, "proof_count"), (2, "suffix_count"), (2, "entry_count"))
    body = encode_body(DELIVERY)
    pad = ((pad_length, "padding"),) if (pad_length := int.from_bytes(body[:2], "big")) else ()
    proof = ((1, "verifier"), (2, "length"), (len(PROOF), "the proof"))
    return cut(body, *header, *pad, *proof, (32, "the following entry"), (2, "length"), (None, "the envelope"))


EXAMPLES = {
    "envelope": build_envelope,
    "envelope id": lambda: show(id=ENVELOPE.id, terms=envelope.compute_terms(ENVELOPE)),
    "lane": build_lane,
    "receipt": lambda: cut(
        RECEIPT.encode(),
        (32, "type hash"),
        (6, "origin"),
        (20, "beneficiary"),
        (5, "position"),
        (1, "outcome: executed"),
        (32, "envelope id"),
        (32, "result: keccak256 of `done`"),
    ),
    "receipt entry": lambda: show(entry=RECEIPT.entry),
    "body": build_body,
    "policy": lambda: show(policy=Policy.parse("0 and 2 of {1,2,3}").word),
    "checkpoint": lambda: show(lane=LANE, direction=0, word=WORD, digest=CHECKPOINT.digest),
    "attestation": lambda: show(
        verifier=VERIFIER,
        domain=compute_domain(31338, VERIFIER),
        set=SET.id,
        digest=compute_digest(31338, VERIFIER, CHECKPOINT, SET),
    ),
    "attestation proof": build_proof,
}


def find_examples():
    blocks = {}
    for page in PAGES:
        for name, block in re.findall(
            r"<!-- example: (.+?) -->\n+```\n(.*?)\n```", (SPEC / page).read_text(), re.DOTALL
        ):
            assert name not in blocks
            blocks[name] = block.split("\n")
    return blocks


@pytest.mark.parametrize("name", EXAMPLES)
def test_example_is_what_the_code_computes(name):
    assert find_examples()[name] == EXAMPLES[name]()


def test_every_example_of_the_specification_is_checked():
    assert set(find_examples()) == set(EXAMPLES)


def test_the_policy_of_the_example_is_satisfied_as_the_page_says():
    word = Policy.parse("0 and 2 of {1,2,3}").word
    assert [is_satisfied(word, mask) for mask in (0b0111, 0b1101, 0b1110, 0b0011)] == [True, True, False, False]
