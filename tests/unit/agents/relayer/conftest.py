"""A lane, its Gate and a relay between them, all in memory."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from model_gate import LANE_RECORD, Attestors, Dispatches, ModelGate

from comity.agents.relayer.lane import LaneRelay
from comity.agents.relayer.options import RelayOptions
from comity.store.port import Store
from comity.store.sqlite import SqliteStore


@pytest.fixture
def store() -> Iterator[Store]:
    opened = SqliteStore(None)
    opened.save_lane(LANE_RECORD)
    yield opened
    opened.close()


@pytest.fixture
def dispatches(store: Store) -> Dispatches:
    return Dispatches(store)


@pytest.fixture
def gate(store: Store) -> ModelGate:
    return ModelGate(store)


@pytest.fixture
def attestors() -> list[Attestors]:
    """Two verifiers' worth; neither has proved anything."""
    return [Attestors(0), Attestors(1)]


@pytest.fixture
def build_relay(store: Store, gate: ModelGate, attestors: list[Attestors]) -> Callable[..., LaneRelay]:
    def build(**options: Any) -> LaneRelay:
        return LaneRelay(
            "a→b",
            LANE_RECORD,
            store=store,
            gate=gate,  # type: ignore[arg-type]
            courier=gate,  # type: ignore[arg-type]
            feed=gate,  # type: ignore[arg-type]
            sources={each.index: each for each in attestors},
            options=RelayOptions(poll_seconds=0.0, **options),
        )

    return build
