"""`comity deploy`: what is missing is done once, an owner's act only after its delay, and again changes nothing."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from comity.chain.rpc import Rpc
from comity.config import LoadedConfig, format_toml, load_config
from comity.devnet.anvil import Anvil
from comity.devnet.devnet import BALANCE
from comity.devnet.keys import derive_key, derive_signer
from comity.devnet.plan import Deployment, State, is_complete
from comity.sdk.client import Client
from comity.sdk.keys import save_key

DELAY = 86_400
MEMBERS = ["0x" + derive_signer("member", index).address.hex() for index in range(3)]


@dataclass
class Owner:
    """Whoever runs `comity deploy` in a folder."""

    path: Path
    rpcs: list[Rpc]

    async def plan(self) -> dict[str, State]:
        async with Client(self.load().config) as client:
            steps = await Deployment(self.load(), client, derive_signer("owner")).plan()
        assert is_complete(steps) == all(step.state is State.DONE for step in steps)
        return {f"{step.chain} {step.what}": step.state for step in steps}

    async def apply(self) -> None:
        async with Client(self.load().config) as client:
            await Deployment(self.load(), client, derive_signer("owner")).apply()

    async def pass_time(self, seconds: int) -> None:
        for rpc in self.rpcs:
            await rpc.call("evm_increaseTime", seconds)
            await rpc.call("evm_mine")

    def load(self) -> LoadedConfig:
        return load_config(self.path)


@pytest.fixture
async def owner(tmp_path: Path) -> AsyncIterator[Owner]:
    save_key(tmp_path / "owner.key", derive_key("owner"))
    async with Anvil(900_001) as first, Anvil(900_002) as second, Rpc(first.url) as one, Rpc(second.url) as two:
        for rpc in (one, two):
            await rpc.call("anvil_setBalance", derive_signer("owner").address, hex(BALANCE))
        path = tmp_path / "comity.toml"
        chain = {"verifiers": [{"set": "main"}]}
        tables = {
            "development": True,
            "owner": {"key": "owner.key", "delay": DELAY},
            "sets": {"main": {"members": MEMBERS, "threshold": 2}},
            "chains": {
                "alpha": {"chain": "eip155:900001", "rpc": [first.url], **chain},
                "beta": {"chain": "eip155:900002", "rpc": [second.url], **chain},
            },
        }
        path.write_text("# kept\n" + format_toml(tables))
        yield Owner(path, [one, two])


async def test_a_plan_of_nothing_lists_everything_and_changes_nothing(owner: Owner) -> None:
    before = owner.path.read_text()
    assert set((await owner.plan()).values()) == {State.MISSING}
    assert owner.path.read_text() == before
    assert [await rpc.block_number() for rpc in owner.rpcs] == [0, 0]


async def test_acts_of_the_owner_wait_for_the_delay(owner: Owner) -> None:
    await owner.apply()
    announced = await owner.plan()
    created = {what for what, state in announced.items() if state is State.DONE}
    assert created == {f"eip155:{chain} create Authority, Gate and Router" for chain in (900_001, 900_002)}
    assert {state for what, state in announced.items() if what not in created} == {State.ANNOUNCED}
    assert "# kept" in owner.path.read_text()

    await owner.apply()
    assert await owner.plan() == announced, "nothing happens before the delay is over"

    await owner.pass_time(DELAY + 1)
    await owner.apply()
    assert set((await owner.plan()).values()) == {State.DONE}


async def test_running_it_again_sends_nothing(owner: Owner) -> None:
    for seconds in (DELAY + 1, 0):
        await owner.apply()
        await owner.pass_time(seconds)
    finished = owner.path.read_text()
    blocks = [await rpc.block_number() for rpc in owner.rpcs]
    await owner.apply()
    assert [await rpc.block_number() for rpc in owner.rpcs] == blocks
    assert owner.path.read_text() == finished


async def test_an_address_without_code_blocks_the_plan(owner: Owner) -> None:
    await owner.apply()
    gate = owner.load().config.chains["alpha"].gate_address
    await owner.rpcs[0].call("anvil_setCode", gate, "0x")
    plan = await owner.plan()
    assert plan["eip155:900001 create Authority, Gate and Router"] is State.BLOCKED
    assert plan["eip155:900002 lane alpha→beta"] is State.BLOCKED
