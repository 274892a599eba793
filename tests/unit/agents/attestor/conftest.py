"""The chain, the providers and the store of the attestor's tests."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from keeper_chain import CHAIN_ID, FINALITY, SIGNERS, FaultyProvider, KeeperChain, build_duty

from comity.agents.attestor import AttestedChain, Attestor, Duty
from comity.chain.quorum import ProviderQuorum
from comity.chain.rpc import Rpc
from comity.core.finality import FinalityRule
from comity.core.types import Address
from comity.devnet.anvil import Anvil
from comity.store.sqlite import SqliteStore


@pytest.fixture(scope="session")
async def chain() -> AsyncIterator[KeeperChain]:
    async with Anvil(CHAIN_ID) as anvil, Rpc(anvil.url) as rpc:
        [account, *_] = await rpc.call("eth_accounts")
        keeper_chain = KeeperChain(rpc, anvil.url, account, Address(b""))
        keeper_chain.keeper = await keeper_chain.deploy_keeper()
        yield keeper_chain


@pytest.fixture
async def providers(chain: KeeperChain) -> AsyncIterator[list[FaultyProvider]]:
    started = [FaultyProvider(chain.url) for _ in range(3)]
    runners = [await provider.start() for provider in started]
    yield started
    for runner in runners:
        await runner.cleanup()
    assert [provider.broken for provider in started if provider.broken] == []


@pytest.fixture
def duty(chain: KeeperChain) -> Duty:
    """A fresh lane, so that tests share the chain and nothing else."""
    return build_duty(chain)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    opened = SqliteStore(tmp_path / "attestor.db")
    yield opened
    opened.close()


Build = Callable[..., Attestor]


@pytest.fixture
async def build(providers: list[FaultyProvider], duty: Duty, store: SqliteStore) -> AsyncIterator[Build]:
    """Build an attestor over the three providers, of which two must agree."""
    closes: list[Callable[[], Awaitable[None]]] = []

    def build_attestor(
        duties: list[Duty] | None = None, *, finality: FinalityRule = FINALITY, **options: Any
    ) -> Attestor:
        quorum = ProviderQuorum([Rpc(provider.url, timeout=5, retries=0) for provider in providers], 2)
        closes.append(quorum.close)
        attested = AttestedChain("eip155:31337", CHAIN_ID, quorum, finality)
        signer, kept = options.pop("signer", SIGNERS[0]), options.pop("store", store)
        return Attestor([attested], [duty] if duties is None else duties, signer, kept, **options)

    yield build_attestor
    for close in closes:
        await close()
