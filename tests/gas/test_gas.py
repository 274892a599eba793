"""Gas is exact: a change of any figure is a change of the snapshot, in the same commit."""

import pytest

from comity.bench import gas
from comity.core.errors import Invalid

BUDGET = {
    "dispatch_32": 36_000,
    "dispatch_256": 42_000,
    "deliver_1_3of4": 86_000,
    "deliver_1_13of19": 138_000,
    "deliver_run8_3of4": 19_500,
    "deliver_run32_3of4": 12_300,
    "deliver_run100_3of4": 10_800,
}
"""What is promised at most; for runs, per message."""


@pytest.fixture(scope="module")
async def figures() -> dict[str, int]:
    return await gas.measure()


async def test_every_figure_equals_the_snapshot(figures: dict[str, int]) -> None:
    gas.check(figures)


async def test_every_path_stays_within_its_budget(figures: dict[str, int]) -> None:
    assert figures.keys() == BUDGET.keys()
    assert {name: figures[name] for name, most in BUDGET.items() if figures[name] > most} == {}


async def test_a_longer_run_is_cheaper_per_message(figures: dict[str, int]) -> None:
    runs = [figures[f"deliver_{name}_3of4"] for name in ("1", "run8", "run32", "run100")]
    assert runs == sorted(runs, reverse=True)


def test_check_names_the_figure_that_moved() -> None:
    moved = gas.load_snapshot() | {"dispatch_32": 1}
    with pytest.raises(Invalid, match="dispatch_32") as refused:
        gas.check(moved)
    assert refused.value.next_step == "comity bench gas --update"


def test_check_names_a_figure_that_is_gone() -> None:
    figures = gas.load_snapshot()
    del figures["deliver_1_3of4"]
    with pytest.raises(Invalid, match="deliver_1_3of4"):
        gas.check(figures)


def test_payloads_have_no_zero_byte() -> None:
    """Zero bytes are cheaper: a figure with them would flatter."""
    assert 0 not in gas.compute_payload(256)
    assert len(gas.compute_payload(256)) == 256
