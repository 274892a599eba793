"""Killed at every step, an attestor signs the same and publishes nothing that it had not promised."""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

import pytest
from keeper_chain import FaultyProvider, KeeperChain, load_signed, word

from comity.agents.attestor import Duty
from comity.agents.runner import FAILPOINT_VARIABLE
from comity.store.sqlite import SqliteStore

PROGRAM = Path(__file__).with_name("crash_program.py")


async def attest_in_process(path: Path, duty: Duty, providers: list[FaultyProvider], failpoint: str = "") -> int:
    given = {
        "router": duty.lane.router.hex(),
        "gate": duty.lane.gate.hex(),
        "urls": [provider.url for provider in providers],
        "store": str(path),
    }
    environment = {**os.environ, FAILPOINT_VARIABLE: failpoint}
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(PROGRAM), json.dumps(given), env=environment, stderr=asyncio.subprocess.PIPE
    )
    _, errors = await process.communicate()
    assert process.returncode in (0, -signal.SIGKILL), errors.decode()
    return process.returncode


@pytest.mark.parametrize("step", ["attestor.promised:1", "attestor.signed:1", "attestor.saved:1", "attestor.signed:2"])
async def test_killed_attestor_signs_the_same_after_restart(
    chain: KeeperChain, duty: Duty, providers: list[FaultyProvider], tmp_path: Path, step: str
) -> None:
    await chain.set_word(duty.id, word(1))
    await chain.set_word(duty.id, word(2))
    await chain.finalize()

    killed, undisturbed = tmp_path / "killed.db", tmp_path / "undisturbed.db"
    assert await attest_in_process(killed, duty, providers, step) == -signal.SIGKILL
    store = SqliteStore(killed)
    published = load_signed(store, duty)
    store.close()
    assert len(published) == (0 if step.endswith(("promised:1", "signed:1")) else 1)

    assert await attest_in_process(killed, duty, providers) == 0
    assert await attest_in_process(undisturbed, duty, providers) == 0
    first, second = SqliteStore(killed), SqliteStore(undisturbed)
    assert load_signed(first, duty) == load_signed(second, duty)
    assert [record.attested.nonce for record in load_signed(first, duty)] == [2, 1]
    assert set(map(repr, published)) <= set(map(repr, load_signed(first, duty)))
    first.close()
    second.close()
