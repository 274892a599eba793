"""The life of a verifier: registered once, then retired, suspended or revoked, alike in Authority, Gate and Router."""

import pytest

from tests.contracts.authority.conftest import DELAY, GUARDIAN, OTHER_GUARDIAN
from tests.contracts.chain import DAY, refused
from tests.contracts.world import OUTSIDER

REVOKED = 1 << 240
ADDRESS = (1 << 160) - 1
WORD, OTHER_WORD = 5 << 216 | 1, 5 << 216 | 2
REPORT = "report(uint256,bytes32,uint256,uint256,bytes,uint256,bytes)"
YES = b"yes"


def retired_at(record):
    return record >> 160 & (1 << 40) - 1


def suspended_until(record):
    return record >> 200 & (1 << 40) - 1


async def guard(production, signature, *values, sender=GUARDIAN):
    await production.chain.act(production.authority, signature, *values, sender=sender)


async def report(production, *, index=0, word=WORD, other=OTHER_WORD, proofs=(YES, YES), sender=OUTSIDER):
    await production.chain.act(
        production.authority, REPORT, index, production.lane, 0, word, proofs[0], other, proofs[1], sender=sender
    )


async def test_register_appends_the_verifier_everywhere(production):
    verdict = await production.chain.create("Verdict", development=False)
    await production.perform("register(address)", verdict)
    assert await production.record(1) == int.from_bytes(verdict, "big")
    assert await production.usable() == 0b11
    assert await production.chain.read(production.endpoint.gate, "verifier_count()") == 2


@pytest.mark.threat("B6")
async def test_register_refuses_a_development_verifier(production):
    with refused("authority: a development verifier"):
        await production.perform("register(address)", await production.chain.create("Verdict", development=True))


@pytest.mark.threat("C12")
async def test_register_refuses_an_account_without_code(production):
    for account in (bytes(20), OUTSIDER, (1).to_bytes(20, "big")):
        with refused("authority: no such verifier"):
            await production.perform("register(address)", account)


@pytest.mark.threat("B10")
async def test_register_refuses_a_verifier_twice(production):
    """One verifier under two indices would count twice towards a threshold."""
    verifier = (await production.record(0) & ADDRESS).to_bytes(20, "big")
    with refused("authority: registered already"):
        await production.perform("register(address)", verifier)
    await production.perform("revoke(uint256)", 0)
    with refused("authority: registered already"):
        await production.perform("register(address)", verifier)


async def test_retire_and_revoke_are_kept_everywhere(production):
    before = await production.record(0)
    await production.perform("retire(uint256)", 0)
    now = await production.now()
    assert await production.record(0) == before | now << 160
    assert await production.usable() == 0
    await production.perform("revoke(uint256)", 0)
    assert await production.record(0) == before | now << 160 | REVOKED


async def test_retire_again_does_not_prolong_the_overlap(production):
    await production.perform("retire(uint256)", 0)
    with refused("authority: retired already"):
        await production.perform("retire(uint256)", 0)


async def test_acts_on_a_verifier_that_is_not_registered_are_refused(production):
    for act in ("retire(uint256)", "revoke(uint256)"):
        with refused("authority: unknown verifier"):
            await production.perform(act, 1)
    with refused("authority: unknown verifier"):
        await guard(production, "suspend(uint256,uint256)", 1, DAY)
    with refused("authority: unknown verifier"):
        await report(production, index=1)


async def test_suspension_ends_by_itself_and_anyone_tells_the_router(production):
    await guard(production, "suspend(uint256,uint256)", 0, DAY)
    assert suspended_until(await production.record(0)) == await production.now() + DAY
    assert await production.usable() == 0
    await production.pass_time(DAY - 1)
    await production.chain.act(production.authority, "refresh()", sender=OUTSIDER)
    assert await production.usable() == 0
    await production.pass_time(1)
    await production.chain.act(production.authority, "refresh()", sender=OUTSIDER)
    assert await production.usable() == 1


async def test_refresh_brings_back_neither_retired_nor_revoked_verifiers(production):
    for act in ("retire(uint256)", "revoke(uint256)"):
        async with production.chain.rolled_back():
            await production.perform(act, 0)
            await production.chain.act(production.authority, "refresh()", sender=OUTSIDER)
            assert await production.usable() == 0


async def test_reinstate_ends_a_suspension(production):
    await guard(production, "suspend(uint256,uint256)", 0, DAY)
    await guard(production, "reinstate(uint256)", 0, sender=OTHER_GUARDIAN)
    assert await production.usable() == 1


async def test_a_suspension_revives_nothing(production):
    await production.perform("revoke(uint256)", 0)
    await guard(production, "suspend(uint256,uint256)", 0, DAY)
    await guard(production, "reinstate(uint256)", 0)
    assert await production.record(0) & REVOKED
    assert await production.usable() == 0


# ------------------------------------------------------------------------------------------------ evidence

SUSPENSION = DELAY + 3 * DAY
"""Three days for the owner to announce a revocation, and its delay."""


async def test_report_suspends_a_verifier_that_contradicts_itself(production):
    await report(production)
    until = await production.now() + SUSPENSION
    assert suspended_until(await production.record(0)) == until
    assert await production.usable() == 0


async def test_report_counts_once_for_each_pair(production):
    """Else old evidence would hold the verifier down for ever."""
    await report(production)
    await production.pass_time(DELAY)
    with refused("authority: reported already"):
        await report(production)
    with refused("authority: give the lower word first"):
        await report(production, word=OTHER_WORD, other=WORD)
    await report(production, other=OTHER_WORD + 1)


async def test_report_needs_two_words_of_one_nonce(production):
    for word, other, reason in (
        (WORD, WORD, "authority: give the lower word first"),
        (WORD, 6 << 216 | 1, "authority: no contradiction"),
    ):
        with refused(reason):
            await report(production, word=word, other=other)


async def test_report_needs_the_verifiers_own_acceptance_of_both(production):
    for proofs in ((b"no", YES), (YES, b"no")):
        with refused("verdict: no"):
            await report(production, proofs=proofs)
    for proofs in ((b"lie", YES), (YES, b"lie")):
        with refused("authority: verifier refused"):
            await report(production, proofs=proofs)


async def test_report_does_not_touch_an_honest_verifier(production):
    """One liar must not take another down with it."""
    await production.perform("register(address)", await production.chain.create("Verdict", development=False))
    await report(production, index=0)
    assert suspended_until(await production.record(1)) == 0
    assert await production.usable() == 0b10


async def test_no_guardian_shortens_what_evidence_imposed(production):
    await guard(production, "suspend(uint256,uint256)", 0, 60)
    await report(production)
    until = await production.now() + SUSPENSION
    await guard(production, "reinstate(uint256)", 0)
    assert suspended_until(await production.record(0)) == until
    await production.pass_time(1)
    await guard(production, "suspend(uint256,uint256)", 0, 60)
    assert suspended_until(await production.record(0)) == until


async def test_evidence_does_not_shorten_what_a_guardian_imposed(production):
    await guard(production, "suspend(uint256,uint256)", 0, 7 * DAY)
    until = await production.now() + 7 * DAY
    await report(production)
    assert suspended_until(await production.record(0)) == until
    assert retired_at(await production.record(0)) == 0
