"""The relayer's pace: envelopes a second, processor time and memory while it works off a backlog.

Two Anvil chains, a lane, four attestors of which three must sign, and a relayer as its operator runs it, in a process
of its own. The clock starts with that process, cold and with an empty store, when all is dispatched and attested; it
stops when the Gate has decided the last envelope, and what it decided is then verified on chain.
"""

import asyncio
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from comity.chain.bindings import (
    DECIDED,
    DISPATCHED,
    Decided,
    decode_decided,
    decode_uint,
    encode_dispatch,
    encode_set_policy,
    encode_words,
)
from comity.chain.codec import Log, from_hex
from comity.compiler import load_artifact_of
from comity.core.envelope import REFUND_TO_SENDER, Envelope, Flags, compute_settlement, compute_terms
from comity.core.errors import Invalid, Unavailable
from comity.core.lane import ACCUMULATOR_BITS
from comity.core.policy import Policy
from comity.core.types import Address, ChainId, Direction, EnvelopeId, Gas, Lane, Outcome, Seconds, to_address32
from comity.devnet import deploy
from comity.devnet.devnet import MAIN_SET, Devnet, DevnetOptions, run_devnet
from comity.sdk.client import Chain, LaneEnds
from comity.telemetry import configure_logging
from comity.tiers.attestation import AttestationVerifier
from comity.tiers.attestation_client import AttestationClient

COUNTS: Final = (1_000, 10_000)
GAS_LIMIT: Final = Gas(60_000)
PAYLOAD: Final = bytes(31) + b"\1"
POLICY: Final = Policy(required=frozenset({0})).word

_OPTIONS: Final = DevnetOptions(chains=2, block_seconds=1.0, instant=True)
_LIFETIME: Final = 86_400
_DISPATCH_GAS: Final = 120_000
_BATCH: Final = 500
_BLOCK_MESSAGES: Final = 1_500
_POLL_SECONDS: Final = 0.05
_PATIENCE_SECONDS: Final = 300.0
_RECORDER: Final = Path(__file__).with_name("Recorder.vy")


@dataclass(frozen=True, slots=True)
class Arena:
    """A devnet with one lane on which a receiver takes what is dispatched."""

    devnet: Devnet
    ends: LaneEnds
    receiver: Address

    @property
    def lane(self) -> Lane:
        """The lane's id."""
        return self.ends.lane

    async def dispatch(self, count: int, **terms: Any) -> None:
        """Dispatch envelopes in few blocks; `terms` replace fields of the envelope."""
        origin = self.ends.origin.quorum.providers[0]
        sender = Address(from_hex((await origin.call("eth_accounts"))[0], 20))
        data = await self._encode_dispatch(sender, terms)
        # From here on transactions gather in the pool, and blocks are mined by the clock or on demand.
        await origin.call("evm_setIntervalMining", 1)
        first = await origin.transaction_count(sender)
        for start in range(0, count, _BATCH):
            call: dict[str, Any] = {"from": sender, "to": self.ends.origin.config.router_address, "data": data}
            call |= {"gas": hex(_DISPATCH_GAS)}
            numbers = range(start, min(start + _BATCH, count))
            await origin.batch([("eth_sendTransaction", [call | {"nonce": hex(first + n)}]) for n in numbers])
            if (start + _BATCH) % _BLOCK_MESSAGES == 0:
                await origin.call("evm_mine")
        await origin.call("evm_mine")

    async def _encode_dispatch(self, sender: Address, terms: dict[str, Any]) -> bytes:
        now = await self.ends.destination.fetch_time()
        fields: dict[str, Any] = {
            "lane": self.lane,
            "nonce": 2**40 - 1,
            "flags": Flags.RETRYABLE,
            "sender": to_address32(sender),
            "receiver": to_address32(self.receiver),
            "deliver_before": Seconds(now + _LIFETIME),
            "gas_limit": GAS_LIMIT,
            "policy": POLICY,
            "return_policy": POLICY,
            "refund_to": REFUND_TO_SENDER,
            "payload": PAYLOAD,
        }
        envelope = Envelope(**(fields | terms))
        return encode_dispatch(
            lane=envelope.lane,
            receiver=envelope.receiver,
            policy=envelope.policy,
            return_policy=envelope.return_policy,
            refund_to=Address(envelope.refund_to[12:]),
            terms=compute_terms(envelope),
            settlement=compute_settlement(envelope),
            tail=envelope.payload,
        )

    async def fetch_decided(self) -> int:
        """How many receipts the Gate has recorded on the lane."""
        gate = self.ends.destination.config.gate_address
        return decode_uint(await self.ends.destination.call(gate, encode_words(self.lane))) >> ACCUMULATOR_BITS

    async def wait_for_decided(self, count: int, *, patience: float = _PATIENCE_SECONDS) -> None:
        """Wait until the Gate has recorded this many receipts. Raises: Unavailable."""
        deadline = time.monotonic() + patience
        while (decided := await self.fetch_decided()) < count:
            if time.monotonic() > deadline:
                raise Unavailable("the relayer does not get on", decided=decided, expected=count)
            await asyncio.sleep(_POLL_SECONDS)

    async def wait_for_attested(self, nonce: int, *, patience: float = _PATIENCE_SECONDS) -> None:
        """Wait until a quorum has signed the word of a nonce and every snapshot before it. Raises: Unavailable."""
        config = self.devnet.config
        attestation_set = config.sets[MAIN_SET]
        verifier = AttestationVerifier(
            ChainId(self.ends.destination.config.id), self.ends.destination.config.verifier_addresses[0], True
        )
        deadline = time.monotonic() + patience
        async with AttestationClient(attestation_set.attestors, verifier, [attestation_set.attestation_set]) as client:
            while time.monotonic() < deadline:
                with contextlib.suppress(Unavailable):
                    lowest = await client.fetch(self.lane, Direction.DISPATCHES, 1)
                    highest = await client.fetch(self.lane, Direction.DISPATCHES, nonce)
                    if highest and lowest and lowest[0][0] >> ACCUMULATOR_BITS <= 64:
                        return
                await asyncio.sleep(_POLL_SECONDS)
        raise Unavailable("the attestors do not get on", nonce=nonce)

    async def list_decided(self) -> list[tuple[Decided, Log]]:
        """Every decision on the Gate, in order."""
        logs = await _fetch_all(self.ends.destination, self.ends.destination.config.gate_address, DECIDED)
        return [(decode_decided(log), log) for log in logs]

    async def list_dispatched(self) -> list[EnvelopeId]:
        """The ids of every envelope dispatched, in order."""
        logs = await _fetch_all(self.ends.origin, self.ends.origin.config.router_address, DISPATCHED)
        return [EnvelopeId(log.topics[1]) for log in logs]

    def start_relayer(self, data: Path, **environment: str) -> subprocess.Popen[bytes]:
        """Start the relayer as its operator does, in a process of its own."""
        return start_agent(["relay", "run", "--config", str(self.devnet.loaded.path), "--data", str(data)], environment)


def start_agent(arguments: Sequence[str], environment: dict[str, str]) -> subprocess.Popen[bytes]:
    """Start a command of `comity` in a process of its own, quietly."""
    return subprocess.Popen(
        [sys.executable, "-m", "comity", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ | environment,
    )


@asynccontextmanager
async def build_arena(folder: Path, options: DevnetOptions = _OPTIONS) -> AsyncIterator[Arena]:
    """Run a devnet without agents, with a receiver on the lane between its first two chains."""
    async with run_devnet(options, folder, agents=False) as devnet:
        origin, destination, *_ = devnet.client.chains.values()
        ends = devnet.client.find_lane(origin, destination)
        wallet = devnet.client.get_wallet(destination, devnet.sender)
        gate = destination.config.gate_address
        receiver = await deploy.create(wallet, load_artifact_of(_RECORDER), gate=gate)
        await wallet.send(gate, encode_set_policy(ends.lane, receiver, POLICY))
        yield Arena(devnet, ends, receiver)


async def run_relay_bench(counts: Sequence[int] = COUNTS) -> dict[str, Any]:
    """Measure one backlog of each size."""
    # The attestors run in this process, and what they say is not the benchmark's result.
    configure_logging(level="critical")
    return {"runs": [await measure(count) for count in counts]}


async def measure(count: int) -> dict[str, Any]:
    """Measure how a relayer works off a backlog."""
    with tempfile.TemporaryDirectory(prefix="comity-bench-") as folder:
        async with build_arena(Path(folder) / "devnet") as arena:
            await arena.dispatch(count)
            arena.devnet.start_attestors()
            await arena.wait_for_attested(count)
            started = time.monotonic()
            with running(arena.start_relayer(Path(folder) / "relayer.sqlite")) as process:
                await arena.wait_for_decided(count)
                seconds = time.monotonic() - started
                cpu_seconds, peak_rss_mb = read_usage(process.pid)
            gas = await _verify(arena, count)
    return {
        "messages": count,
        "seconds": round(seconds, 2),
        "messages_per_second": round(count / seconds, 1),
        "cpu_seconds": round(cpu_seconds, 2),
        "peak_rss_mb": round(peak_rss_mb, 1),
        "gas_per_message": round(gas / count),
    }


@contextlib.contextmanager
def running(process: subprocess.Popen[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """Kill the process at the end, whatever happened."""
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def read_usage(pid: int) -> tuple[float, float]:
    """Read the processor seconds and the peak resident megabytes of a process, from Linux's /proc."""
    # The name, second field, may contain anything but ends with the last parenthesis.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    ticks = int(fields[11]) + int(fields[12])
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return ticks / os.sysconf("SC_CLK_TCK"), int(status["VmHWM"].split()[0]) / 1024


async def _verify(arena: Arena, count: int) -> int:
    """Check that every envelope was executed exactly once, and return the gas of all deliveries."""
    decided = await arena.list_decided()
    executed = [event.id for event, _ in decided if event.outcome is Outcome.EXECUTED]
    dispatched = await arena.list_dispatched()
    if len(executed) != count or len(decided) != count or set(executed) != set(dispatched):
        raise Invalid("not every envelope was executed exactly once", executed=len(executed), decided=len(decided))
    provider = arena.ends.destination.quorum.providers[0]
    receipts = [await provider.fetch_receipt(tx_hash) for tx_hash in {log.transaction_hash for _, log in decided}]
    return sum(receipt.gas_used for receipt in receipts if receipt)


async def _fetch_all(chain: Chain, contract: Address, topic: bytes) -> list[Log]:
    return await chain.quorum.providers[0].fetch_logs(contract, [topic], chain.config.start_block, "latest")
