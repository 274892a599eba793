"""`deliver`: the hook gets all of its gas, or the envelope stays untouched; never is it FAILED for want of gas.

The relayer is the adversary: it chooses the gas of the transaction.
"""

import pytest

from comity.chain.bindings import encode_deliver
from comity.core.delivery import encode_body
from comity.core.envelope import Flags
from comity.core.errors import Rejected
from comity.core.types import Address
from tests.contracts.chain import refused
from tests.contracts.world import BURN, FIRST, POLICY, RELAYER, SECOND, YES, decode_all, policy_of

FLOOR = 21_000
STEPS = 400
HOOK_GASES = [0, 1, 62, 63, 40_000, 200_000, 3_000_000]


async def try_with(world, delivery, gas):
    """Whether a delivery succeeds with this gas, and the outcomes that it records; nothing is changed."""
    data = encode_deliver(delivery.before, bytes(32), encode_body(delivery))
    succeeded, logs = await world.destination.simulate(world.target.gate, data, sender=RELAYER, gas=gas)
    return succeeded, {one.id: int(one.outcome) for one in decode_all(logs)}


def compute_intrinsic_gas(delivery):
    """The least gas with which the transaction is a transaction at all."""
    data = encode_deliver(delivery.before, bytes(32), encode_body(delivery))
    tokens = sum(1 if byte == 0 else 4 for byte in data)
    return FLOOR + 10 * tokens


async def find_hook_gas(world, receiver, delivery):
    """What a hook finds at its start when there is gas in plenty."""
    async with world.destination.rolled_back():
        await world.deliver(delivery)
        return await world.destination.read(receiver, "gas_seen()")


@pytest.mark.threat("C16")
@pytest.mark.threat("C18")
@pytest.mark.parametrize("size", [0, 1024], ids=["no payload", "largest payload"])
@pytest.mark.parametrize("gas_limit", [200_000, 3_000_000, 20_000_000])
async def test_deliver_gives_the_whole_gas_limit_or_touches_nothing(world, sent, gas_limit, size):
    receiver = await world.deploy_receiver()
    sent.add(receiver, gas_limit=gas_limit, payload=b"\xff" * size)
    delivery = sent.run()
    needed = await find_hook_gas(world, receiver, delivery)
    assert gas_limit - 1000 < needed <= gas_limit
    # From now on a hook with less gas than it was promised reverts, which would be recorded as FAILED.
    await world.destination.act(receiver, "set_gas_needed(uint256)", needed)
    lowest, highest = compute_intrinsic_gas(delivery), 2 * gas_limit + 400_000
    seen = await sweep(world, delivery, lowest, highest)
    assert seen == {(False, None), (True, 1)}


async def sweep(world, delivery, lowest, highest):
    """Every (status, outcome) in steps over the whole range, and at each gas around the least that succeeds."""
    seen = set()
    for step in range(STEPS):
        seen.add(await find_outcome(world, delivery, lowest + (highest - lowest) * step // STEPS))
    low, high = lowest, highest
    while high - low > 1:
        middle = (low + high) // 2
        outcome = await find_outcome(world, delivery, middle)
        seen.add(outcome)
        low, high = (low, middle) if outcome[0] else (middle, high)
    for gas in range(high - 25, high + 25):
        seen.add(await find_outcome(world, delivery, gas))
    return seen


async def find_outcome(world, delivery, gas):
    succeeded, outcomes = await try_with(world, delivery, gas)
    [outcome] = outcomes.values() or [None]
    return succeeded, outcome


@pytest.mark.threat("C16")
@pytest.mark.parametrize("gas_limit", HOOK_GASES)
async def test_deliver_gives_the_same_gas_whatever_the_transaction_has(world, sent, gas_limit):
    """The hook cannot be given more either: what it does does not depend on the relayer."""
    probe = await world.deploy_receiver()
    sent.add(probe, gas_limit=gas_limit)
    delivery = sent.run()
    outcomes = set()
    for gas in (gas_limit + 500_000, gas_limit + 5_000_000, 30_000_000):
        async with world.destination.rolled_back():
            await world.deliver(delivery, gas=gas)
            outcomes.add((await world.mark(1), await world.destination.read(probe, "gas_seen()")))
    assert len(outcomes) == 1


@pytest.mark.threat("C16")
async def test_deliver_says_that_more_gas_is_needed(world, sent):
    sent.add(await world.deploy_receiver(), gas_limit=1_000_000)
    with refused("gate: more gas needed"):
        await world.deliver(sent.run(), gas=900_000)
    assert await world.mark(1) == 0


@pytest.mark.threat("C16")
@pytest.mark.threat("C18")
async def test_deliver_ends_the_run_at_the_first_envelope_that_lacks_gas(world, sent):
    """What was done before it is kept, and neither it nor those after it are touched."""
    receiver = await world.deploy_receiver()
    greedy, modest = 2_000_000, 400_000
    for gas_limit in (modest, modest, greedy, modest):
        sent.add(receiver, gas_limit=gas_limit)
    await world.deliver(sent.run(), gas=1_800_000)
    assert [await world.mark(nonce) for nonce in (1, 2, 3, 4)] == [1, 1, 0, 0]
    await world.deliver(sent.run())
    assert await world.count(receiver) == 4


@pytest.mark.threat("C16")
async def test_deliver_never_fails_the_second_of_a_run_for_want_of_gas(world, sent):
    """Hooks that burn all they get stand before one that needs all it was promised."""
    victim = await world.deploy_receiver()
    burning = await world.deploy_receiver(mode=BURN)
    for _ in range(3):
        sent.add(burning, gas_limit=150_000)
    last = sent.add(victim, gas_limit=300_000)
    delivery = sent.run()
    await world.destination.act(victim, "set_gas_needed(uint256)", await find_hook_gas(world, victim, sent.run(4, 4)))
    lowest, outcomes = compute_intrinsic_gas(delivery), set()
    for gas in range(lowest, 1_800_000, 9_973):
        succeeded, decisions = await try_with(world, delivery, gas)
        outcomes.add((succeeded, decisions.get(last.id)))
    assert outcomes == {(False, None), (True, None), (True, 1)}


@pytest.mark.threat("C16")
async def test_deliver_never_picks_a_lower_tier_for_want_of_gas(world, sent):
    """Not even of a receiver that values everything at nothing when it has less gas than the Gate promises."""
    valuer = await world.destination.create("Valuer")
    await world.destination.act(valuer, "set_gas_needed(uint256)", 97_500)
    tiers = [(0, POLICY), (10, policy_of([FIRST, SECOND]))]
    await world.destination.act(
        world.target.gate, "set_tiers(bytes32,address,(uint256,uint256)[])", world.lane, valuer, tiers, sender=valuer
    )
    await world.destination.act(valuer, "set_worth(uint256)", 10)
    weak = sent.add(valuer, gas_limit=100_000)
    strong = sent.run(proofs={FIRST: YES, SECOND: YES})
    for gas in range(compute_intrinsic_gas(strong), 700_000, 4_999):
        _, outcomes = await try_with(world, sent.run(), gas)
        assert outcomes == {}
        _, outcomes = await try_with(world, strong, gas)
        assert outcomes in ({}, {weak.id: 1})


# Returns zero, but reverts with less than 90,536 gas.
HUNGRY = "0x620161a85a10600d5760205ff35b5f5ffd"


@pytest.mark.threat("C16")
async def test_deliver_blames_no_valuation_for_want_of_gas(world, sent):
    """The relayer hears that more gas is needed, not that the receiver is at fault."""
    receiver = Address(b"\xc2" * 20)
    await world.destination.rpc.call("anvil_setCode", receiver, HUNGRY)
    await world.destination.act(
        world.target.gate,
        "set_tiers(bytes32,address,(uint256,uint256)[])",
        world.lane,
        receiver,
        [(0, POLICY)],
        sender=receiver,
    )
    sent.add(receiver, gas_limit=0)
    delivery, reasons = sent.run(), set()
    for gas in range(compute_intrinsic_gas(delivery), 400_000, 2_003):
        try:
            data = encode_deliver(delivery.before, bytes(32), encode_body(delivery))
            await world.destination.call(world.target.gate, data, gas=gas)
        except Rejected as rejected:
            reasons.add(rejected.reason)
    assert "gate: more gas needed" in reasons
    assert "gate: valuation failed" not in reasons


@pytest.mark.threat("C18")
async def test_deliver_with_little_gas_leaves_a_retryable_envelope_for_others(world, sent):
    receiver = await world.deploy_receiver()
    sent.add(receiver, flags=Flags.RETRYABLE, gas_limit=1_000_000)
    for gas in range(200_000, 1_100_000, 50_000):
        _, outcomes = await try_with(world, sent.run(), gas)
        assert outcomes == {}
    await world.deliver(sent.run())
    assert await world.count(receiver) == 1
