"""A quorum believes what enough providers say, and stops when too few agree."""

import asyncio

import pytest
from aiohttp import web

from comity.chain.quorum import ProviderQuorum, fetch_header
from comity.chain.revert import encode_revert
from comity.chain.rpc import Rpc
from comity.core.errors import ConfigError, NotReady, Rejected, Unavailable
from comity.core.finality import FINALIZED, LATEST, SAFE, FinalityRule
from comity.proofs.header import compute_block_hash


@pytest.fixture
async def quorum(proxies):
    made = ProviderQuorum([Rpc(proxy.url, timeout=5, retries=0) for proxy in proxies], 2)
    yield made
    await made.close()


def lie(**lies):
    """Answer these methods falsely."""
    return lambda method, params, answer: lies.get(method, answer)


def fail(method, params, answer):
    raise web.HTTPServiceUnavailable


@pytest.mark.parametrize(("providers", "quorum"), [(1, 0), (1, 2), (2, 1), (3, 1), (4, 2), (3, 4), (0, 0)])
def test_a_quorum_that_two_answers_could_have_is_refused(providers, quorum):
    with pytest.raises(ConfigError):
        ProviderQuorum([Rpc(f"http://127.0.0.1:{port}") for port in range(1, providers + 1)], quorum)


@pytest.mark.parametrize(("providers", "quorum"), [(1, 1), (2, 2), (3, 2), (4, 3), (5, 5)])
def test_more_than_half_is_a_quorum(providers, quorum):
    rpcs = [Rpc(f"http://127.0.0.1:{port}") for port in range(1, providers + 1)]
    assert ProviderQuorum(rpcs, quorum).quorum == quorum


def test_one_provider_with_two_keys_counts_once():
    with pytest.raises(ConfigError, match="twice"):
        ProviderQuorum([Rpc(f"http://127.0.0.1:1/{key}") for key in ("a", "b")], 2)


async def test_one_liar_of_three_is_outvoted(quorum, proxies, chain):
    for liar in proxies:
        liar.alter = lie(eth_getBalance="0x1")
        assert await quorum.agree("eth_getBalance", chain.accounts[0], "latest") != "0x1"
        liar.alter = lie()


async def test_one_failure_of_three_is_borne_but_never_makes_the_quorum_smaller(quorum, proxies, chain):
    proxies[0].alter = fail
    assert await quorum.agree("eth_chainId") == hex(31337)
    proxies[1].alter = lie(eth_chainId="0x1")
    with pytest.raises(Unavailable) as refused:
        await quorum.agree("eth_chainId")
    answers = refused.value.values["answers"]
    assert set(answers) == {provider.host for provider in quorum.providers}
    assert answers[quorum.providers[1].host] == "'0x1'"
    assert answers[quorum.providers[2].host] == "'0x7a69'"
    proxies[1].alter = fail
    with pytest.raises(Unavailable):
        await quorum.agree("eth_chainId")


@pytest.mark.parametrize("depth", [1, 5, 8, 20, 1_000_000])
async def test_a_liar_that_nests_is_a_failed_provider_however_deep(proxies, http_server, depth):
    """Up to some depth the answer is still decoded, and must not break what is done with it."""

    async def handle(request):
        question = await request.json()
        return web.Response(body=b'{"id":%d,"result":' % question["id"] + b"[" * depth + b"]" * depth + b"}")

    async with http_server(handle) as url:
        made = ProviderQuorum([Rpc(each, timeout=5, retries=0) for each in (url, *(p.url for p in proxies[:2]))], 2)
        assert await made.chain_id() == 31337
        assert await made.agree("eth_chainId") == hex(31337)
        assert await made.agreed_finalized(LATEST) == 0
        assert (await made.agreed_header(0)).number == 0
        proxies[0].alter = lie(eth_chainId="0x1", eth_blockNumber="0x" + "f" * 5000)
        for ask in (made.chain_id(), made.agree("eth_chainId"), made.agreed_head()):
            with pytest.raises(Unavailable):
                await ask
        await made.close()


async def test_three_answers_are_no_agreement(quorum, proxies):
    for number, proxy in enumerate(proxies):
        proxy.alter = lie(eth_chainId=hex(number))
    with pytest.raises(Unavailable):
        await quorum.agree("eth_chainId")


async def test_letter_case_and_key_order_are_no_difference(quorum, proxies):
    proxies[0].alter = lie(eth_foo={"a": "0xAB", "b": 1})
    proxies[1].alter = lie(eth_foo={"b": 1, "a": "0xab"})
    proxies[2].alter = lie(eth_foo={"b": 1, "a": "0xac"})
    assert (await quorum.agree("eth_foo"))["b"] == 1
    proxies[1].alter = lie(eth_foo={"b": "1", "a": "0xab"})
    with pytest.raises(Unavailable):
        await quorum.agree("eth_foo")


async def test_a_quorum_does_not_wait_for_a_silent_provider(chain, proxies, http_server):
    silence = asyncio.Event()

    async def handle(request):
        await silence.wait()

    async with http_server(handle) as url:
        silent = ProviderQuorum([Rpc(url, timeout=3600), *(Rpc(proxy.url) for proxy in proxies[:2])], 2)
        async with asyncio.timeout(20):
            assert await silent.agree("eth_chainId") == hex(31337)
            assert (await silent.agreed_header(0)).number == 0
            assert await silent.agreed_finalized(LATEST) == 0
        silence.set()
        await silent.close()


async def test_a_revert_that_a_quorum_sees_is_the_answer(quorum, proxies, chain, rpc_failure):
    reason = encode_revert("gate: too early")
    code = bytes.fromhex(f"61{len(reason):04x}600e60003961{len(reason):04x}6000fd") + reason
    target = b"\x66" * 20
    await chain.rpc.call("anvil_setCode", target, code)
    with pytest.raises(Rejected) as refused:
        await quorum.agree("eth_call", {"to": target}, "latest")
    assert refused.value.reason == "gate: too early"
    proxies[0].alter = lie(eth_call="0x")
    with pytest.raises(Rejected):
        await quorum.agree("eth_call", {"to": target}, "latest")
    proxies[1].alter = fail
    with pytest.raises(Unavailable):
        await quorum.agree("eth_call", {"to": target}, "latest")


async def test_equal_failures_are_no_answer(quorum, proxies, rpc_failure):
    for proxy in proxies:
        proxy.alter = lambda method, params, answer: rpc_failure(-32000, "header not found")
    with pytest.raises(Unavailable):
        await quorum.agree("eth_getBalance", bytes(20), "latest")


def altered_header(**fields):
    """Change fields of a block and leave its stated hash as it was."""
    return lambda method, params, answer: answer | fields if method == "eth_getBlockByNumber" else answer


def forged_header(**fields):
    """Change fields of a block and hash it again: a consistent lie."""

    def alter(method, params, answer):
        if method != "eth_getBlockByNumber":
            return answer
        forged = answer | fields
        return forged | {"hash": "0x" + compute_block_hash(forged).hex()}

    return alter


async def test_a_header_must_hash_to_what_a_quorum_says(quorum, proxies, chain):
    await chain.mine(3)
    true = await chain.rpc.fetch_block(2)
    proxies[0].alter = altered_header(stateRoot="0x" + "11" * 32)
    header = await quorum.agreed_header(2)
    assert (header.hash, header.state_root, header.number) == (true.hash, true.state_root, 2)
    proxies[1].alter = altered_header(stateRoot="0x" + "11" * 32)
    with pytest.raises(Unavailable):
        await quorum.agreed_header(2)


async def test_a_consistently_forged_header_needs_a_quorum_of_liars(quorum, proxies, chain):
    await chain.mine(3)
    true = await chain.rpc.fetch_block(2)
    proxies[0].alter = forged_header(stateRoot="0x" + "11" * 32)
    assert (await quorum.agreed_header(2)).hash == true.hash
    proxies[1].alter = forged_header(stateRoot="0x" + "22" * 32)
    with pytest.raises(Unavailable):
        await quorum.agreed_header(2)


async def test_another_height_than_asked_for_is_refused(quorum, proxies, chain):
    await chain.mine(3)
    other = (await chain.rpc.fetch_block(1)).header
    for proxy in proxies:
        proxy.alter = lie(eth_getBlockByNumber=other)
    with pytest.raises(Unavailable):
        await quorum.agreed_header(2)
    assert (await fetch_header(quorum.providers[0], 1)).number == 1


async def test_a_height_that_no_provider_has_is_not_ready(quorum, chain):
    with pytest.raises(NotReady):
        await quorum.agreed_header(10**6)


@pytest.mark.parametrize(
    ("rule", "behind"), [(LATEST, 0), (SAFE, 1), (FINALIZED, 2), (FinalityRule.from_depth(4), 4)], ids=str
)
async def test_final_is_what_a_quorum_calls_final(quorum, proxies, chain, rule, behind):
    await chain.mine(9)
    assert await quorum.agreed_finalized(rule) == 9 - behind
    # A liar that is ahead and a laggard change nothing as long as two others have reached the block.
    proxies[0].alter = forged_header(number="0x1000") if rule.tag else lie(eth_blockNumber="0x1000")
    if rule is LATEST:
        proxies[0].alter = forged_header(number="0x1000")
    assert await quorum.agreed_finalized(rule) == 9 - behind
    proxies[0].alter = forged_header(number="0x0") if rule.tag else lie(eth_blockNumber="0x5")
    assert await quorum.agreed_finalized(rule) == 9 - behind
    proxies[1].alter = fail
    lagging = 0 if rule.tag else 1
    assert await quorum.agreed_finalized(rule) == lagging
    proxies[0].alter = fail
    with pytest.raises(Unavailable):
        await quorum.agreed_finalized(rule)


async def test_nothing_is_final_before_the_chain_is_deep_enough(quorum, chain):
    await chain.mine(3)
    with pytest.raises(NotReady):
        await quorum.agreed_finalized(FinalityRule.from_depth(4))
