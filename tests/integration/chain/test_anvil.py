"""Anvil nodes: found, started, and gone without a trace, whatever ends their parent."""

import os
import select
import signal
import subprocess
import sys
import urllib.error
import urllib.request

import pytest

from comity.chain.rpc import Rpc
from comity.core.errors import ConfigError, Unavailable
from comity.devnet.anvil import Anvil, find_anvil, start_anvil


async def test_a_node_is_as_asked_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    async with Anvil(4242, timestamp=1_600_000_000, slots_in_an_epoch=2, gas_limit=70_000_000, ipc=True) as node:
        process = node.process
        assert node.url.startswith("http://127.0.0.1:")
        async with Rpc(node.url) as rpc, Rpc(str(node.ipc_path)) as ipc:
            assert await rpc.chain_id() == await ipc.chain_id() == 4242
            genesis = await rpc.fetch_block(0)
            assert genesis.timestamp == 1_600_000_000
            assert int(genesis.header["gasLimit"], 16) == 70_000_000
            await rpc.call("anvil_mine", 10)
            assert (await rpc.fetch_block("finalized")).number == 6
        assert list(tmp_path.iterdir())
    assert process.poll() is not None
    assert list(tmp_path.iterdir()) == []


def test_a_synchronous_node_stops_twice():
    node = start_anvil(5, timestamp=1_600_000_000)
    assert node.process.poll() is None
    node.stop()
    node.stop()
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(node.url, timeout=1)


def test_chains_get_ports_of_their_own():
    first, second = start_anvil(1), start_anvil(2)
    try:
        assert first.port != second.port
    finally:
        first.stop()
        second.stop()


def test_a_port_that_is_taken_is_unavailable(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    first = start_anvil(1)
    before = set(tmp_path.iterdir())
    try:
        with pytest.raises(Unavailable) as refused:
            start_anvil(2, port=first.port)
        assert "in use" in refused.value.values["said"]
        assert set(tmp_path.iterdir()) == before
    finally:
        first.stop()


PARENT = """
import time
from comity.devnet.anvil import start_anvil
print(start_anvil(3).process.pid, flush=True)
time.sleep(60)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel ends orphans only on Linux")
def test_a_node_dies_with_a_parent_that_was_killed(tmp_path):
    # A killed parent cleans nothing up, so its files go where pytest removes them.
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True, env=environment)
    pid = int(parent.stdout.readline())
    node = os.pidfd_open(pid)
    try:
        parent.kill()
        parent.wait()
        # The descriptor of a process becomes readable when it ends.
        ended = select.select([node], [], [], 10)[0]
        if not ended:
            os.kill(pid, signal.SIGKILL)
        assert ended
    finally:
        os.close(node)
        parent.stdout.close()


def test_a_named_binary_is_used_or_refused(monkeypatch, tmp_path):
    found = find_anvil()
    assert os.access(found, os.X_OK)
    monkeypatch.setenv("COMITY_ANVIL", str(found))
    assert find_anvil() == found
    monkeypatch.setenv("COMITY_ANVIL", str(tmp_path / "absent"))
    with pytest.raises(ConfigError):
        find_anvil()


def test_a_missing_binary_says_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.delenv("COMITY_ANVIL", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("comity.devnet.anvil.__file__", str(tmp_path / "anvil.py"))
    with pytest.raises(ConfigError) as refused:
        find_anvil()
    assert "npm ci" in refused.value.next_step


def test_a_node_without_a_socket_has_no_ipc_path():
    node = start_anvil(6)
    try:
        with pytest.raises(ConfigError):
            _ = node.ipc_path
    finally:
        node.stop()
