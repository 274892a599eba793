"""`comity decode` of what stands on the chain."""

from comity.chain.rpc import Rpc
from tests.integration.cli.shell import WAIT, Shell


async def test_a_delivery_is_read_off_the_chain(shell: Shell) -> None:
    sent = shell.run("send", "alpha", "beta", shell.guestbook, "decoded", *WAIT).document
    async with Rpc(shell.config.chains["beta"].rpc[0]) as rpc:
        transaction = await rpc.call("eth_getTransactionByHash", sent["decided_in"])
    decoded = shell.run("decode", transaction["input"])
    assert decoded.code == 0
    [entry] = [entry for entry in decoded.document["entries"] if entry["id"] == sent["id"]]
    assert bytes.fromhex(entry["payload"][2:]) == b"decoded"
    assert decoded.document["proofs"]["0"]["threshold"] == 3


def test_what_is_nothing_of_ours_is_refused(shell: Shell) -> None:
    assert shell.run("decode", "0x1234").code == 1
    assert shell.run("decode", "zz").code == 2
