"""Gas is exact: a change of any figure is a change of the snapshot, in the same commit."""

import pytest

from comity.bench import gas
from comity.core.errors import Invalid

BUDGET = {"deliver_1_3of4": 90_000, "deliver_run100_3of4": 11_000}
"""What the protocol promises at most."""


@pytest.fixture(scope="module")
async def figures() -> dict[str, int]:
    return await gas.measure()


async def test_gas_equals_the_snapshot(figures: dict[str, int]) -> None:
    gas.check(figures)


async def test_gas_stays_within_its_budget(figures: dict[str, int]) -> None:
    over = {name: figures[name] for name, most in BUDGET.items() if figures[name] > most}
    assert not over


def test_a_moved_figure_is_named() -> None:
    moved = gas.load_snapshot() | {"dispatch_32": 1}
    with pytest.raises(Invalid, match="dispatch_32"):
        gas.check(moved)


def test_payloads_have_no_zero_byte() -> None:
    assert 0 not in gas.compute_payload(256)
    assert len(gas.compute_payload(256)) == 256
