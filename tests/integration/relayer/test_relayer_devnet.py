"""The relayer on real contracts: reorgs of either end, poison, missing policies, deadlines."""

from relayer_world import relaying, wait_until

from comity.bench.relay import POLICY, Arena
from comity.chain.bindings import encode_set_policy
from comity.core.types import Outcome, Seconds
from comity.store.port import DeliveryState


async def test_poison_is_put_off_while_all_others_arrive(arena: Arena) -> None:
    arena.devnet.start_attestors()
    await arena.dispatch(30)
    # The receiver reads a word of the payload, and reverts where there is none.
    await arena.dispatch(3, payload=b"")
    await arena.dispatch(30)
    async with relaying(arena) as store:
        await arena.wait_for_decided(60)
        poisoned = [store.load_dispatch(arena.lane, nonce) for nonce in (31, 32, 33)]
        await wait_until(
            lambda: all(
                (row := store.load_dispatch(arena.lane, nonce)) is not None and row.cause == "gate: receiver failed"
                for nonce in (31, 32, 33)
            )
        )
        assert all(row and row.state is DeliveryState.PENDING for row in poisoned)
        await arena.dispatch(30)
        await arena.wait_for_decided(90)
    assert {event.outcome for event, _ in await arena.list_decided()} == {Outcome.EXECUTED}


async def test_a_receiver_without_policy_gets_its_envelope_once_it_has_one(arena: Arena) -> None:
    arena.devnet.start_attestors()
    wallet = arena.devnet.client.get_wallet(arena.ends.destination, arena.devnet.sender)
    gate = arena.ends.destination.config.gate_address
    await wallet.send(gate, encode_set_policy(arena.lane, arena.receiver, 0))
    await arena.dispatch(2)
    async with relaying(arena) as store:
        await wait_until(
            lambda: (row := store.load_dispatch(arena.lane, 1)) is not None and row.cause == "receiver has no policy"
        )
        row = store.load_dispatch(arena.lane, 1)
        assert row is not None
        assert row.attempts == 0
        await wallet.send(gate, encode_set_policy(arena.lane, arena.receiver, POLICY))
        await arena.wait_for_decided(2)


async def test_past_the_deadline_an_envelope_is_expired(arena: Arena) -> None:
    provider = arena.ends.destination.quorum.providers[0]
    now = await arena.ends.destination.fetch_time()
    await arena.dispatch(2, deliver_before=Seconds(now + 600))
    async with relaying(arena, expire=True) as store:
        await wait_until(lambda: store.load_dispatch_head(arena.lane) == 2)
        assert await arena.fetch_decided() == 0
        await provider.call("evm_increaseTime", 1200)
        await provider.call("evm_mine")
        await arena.wait_for_decided(2)
    decided = await arena.list_decided()
    assert [event.outcome for event, _ in decided] == [Outcome.EXPIRED] * 2
    assert {event.id for event, _ in decided} == set(await arena.list_dispatched())


async def test_a_dependant_arrives_with_what_it_depends_on(arena: Arena) -> None:
    arena.devnet.start_attestors()
    await arena.dispatch(1)
    await arena.dispatch(1, depends_on=1)
    await arena.dispatch(1, depends_on=2)
    async with relaying(arena):
        await arena.wait_for_decided(3)
    assert [event.id for event, _ in await arena.list_decided()] == await arena.list_dispatched()


async def test_a_reorg_of_the_origin_takes_its_envelopes_away(slow_arena: Arena) -> None:
    arena = slow_arena
    origin = arena.ends.origin.quorum.providers[0]
    await arena.dispatch(3)
    async with relaying(arena) as store:
        await wait_until(lambda: store.load_dispatch_head(arena.lane) == 3)
        gone = set(await arena.list_dispatched())
        await origin.call("anvil_reorg", 1, [])
        await wait_until(lambda: store.load_dispatch_head(arena.lane) == 0)
        arena.devnet.start_attestors()
        await arena.dispatch(5, payload=bytes(32))
        await arena.wait_for_decided(5)
    dispatched = await arena.list_dispatched()
    assert len(dispatched) == 5
    assert {event.id for event, _ in await arena.list_decided()} == set(dispatched)
    assert not gone & set(dispatched)


async def test_a_reorg_of_the_destination_has_envelopes_delivered_again(slow_arena: Arena) -> None:
    arena = slow_arena
    destination = arena.ends.destination.quorum.providers[0]
    arena.devnet.start_attestors()
    await arena.dispatch(3)
    async with relaying(arena) as store:
        await wait_until(lambda: store.load_receipt_head(arena.lane) == 3)
        await destination.call("anvil_reorg", 1, [])
        assert await arena.fetch_decided() == 0
        await arena.wait_for_decided(3)
        await wait_until(lambda: store.load_receipt_head(arena.lane) == 3)
    assert {event.id for event, _ in await arena.list_decided()} == set(await arena.list_dispatched())
