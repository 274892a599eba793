"""core/lane.vy against comity.core.lane."""

import random

import pytest

from comity.core import lane
from comity.core.checkpoint import Checkpoint
from comity.core.types import Direction
from tests.vectors.vector_files import cases, unhex

COUNT = 500


def to_words(answers):
    return [int.from_bytes(answer, "big") for answer in answers]


async def test_ids_and_seeds_agree(modules):
    rng = random.Random(1)
    parts = [
        (rng.randint(1, (1 << 256) - 1), rng.randbytes(32), rng.randint(1, 1 << 40), rng.randbytes(32))
        for _ in range(COUNT)
    ]
    ids = await modules.ask("compute_lane(uint256,bytes32,uint256,bytes32)", parts)
    assert ids == [lane.compute_lane(*each) for each in parts]
    for direction in Direction:
        seeds = await modules.ask_words("compute_seed(bytes32,uint256)", [(each, int(direction)) for each in ids])
        assert seeds == [lane.compute_seed(each, direction) for each in ids]


async def test_extensions_agree(modules):
    rng = random.Random(2)
    steps = [(rng.choice([1, (1 << 216) - 1, rng.randint(1, (1 << 216) - 1)]), rng.randbytes(32)) for _ in range(COUNT)]
    extended = await modules.ask_words("extend(uint256,bytes32)", steps)
    assert extended == [lane.extend(*step) for step in steps]


async def test_digests_of_checkpoints_agree(modules):
    rng = random.Random(3)
    checkpoints = [
        Checkpoint(rng.randbytes(32), rng.choice(list(Direction)), lane.pack_word(rng.randint(0, 1 << 39), 1 + n))
        for n in range(COUNT)
    ]
    digests = await modules.ask(
        "compute_digest(bytes32,uint256,uint256)", [(each.lane, int(each.direction), each.word) for each in checkpoints]
    )
    assert digests == [checkpoint.digest for checkpoint in checkpoints]


@pytest.mark.parametrize("case", cases("lane", "lanes"))
async def test_the_contract_agrees_with_a_vector_of_ids(modules, case):
    parts = (int(case["origin"], 16), unhex(case["router"]), int(case["destination"], 16), unhex(case["gate"]))
    assert await modules.ask("compute_lane(uint256,bytes32,uint256,bytes32)", [parts]) == [unhex(case["lane"])]
    seeds = await modules.ask_words(
        "compute_seed(bytes32,uint256)", [(unhex(case["lane"]), direction) for direction in (0, 1)]
    )
    assert seeds == [int(seed, 16) for seed in case["seeds"]]


@pytest.mark.parametrize("case", cases("lane", "steps"))
async def test_the_contract_agrees_with_a_vector_of_steps(modules, case):
    word, after = int(case["word"], 16), int(case["after"], 16)
    mask = (1 << 216) - 1
    assert await modules.ask_words("extend(uint256,bytes32)", [(word & mask, unhex(case["entry"]))]) == [after & mask]
    assert after >> 216 == (word >> 216) + 1


@pytest.mark.parametrize("case", cases("lane", "runs"))
async def test_the_contract_agrees_with_a_vector_of_runs(modules, case):
    accumulator = int(case["before"], 16)
    entries = [unhex(entry) for name in ("entries", "suffix") for entry in case[name]]
    for entry in entries:
        [accumulator] = await modules.ask_words("extend(uint256,bytes32)", [(accumulator, entry)])
    assert (case["first_nonce"] + len(entries) - 1) << 216 | accumulator == int(case["word"], 16)
