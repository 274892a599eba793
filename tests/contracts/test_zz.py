from tests.contracts.world import *
from tests.contracts.gate.test_deliver_gas import *
import time
async def test_x(world, sent):
    receiver = await world.deploy_receiver()
    sent.add(receiver, gas_limit=200000)
    d = sent.run()
    low = await find_intrinsic_gas(world, d)
    data = encode_deliver(d.before, bytes(32), encode_body(d))
    r = world.destination.rpc
    for g in (low-1, low, low+1, low+100, 500000):
        try:
            a = await r.call("eth_simulateV1", {"blockStateCalls":[{"calls":[{"from":RELAYER,"to":world.target.gate,"input":data,"gas":hex(g), "gasPrice":"0x0"}]}], "validation": False}, "latest")
            c = a[0]["calls"][0]
            print(g, c["status"], c.get("error"), len(c["logs"]), c["gasUsed"])
        except Exception as e: print(g, "sim", e)
        try:
            t=time.time()
            rc, o = await deliver_with(world, d, g)
            print(g, rc.status, o)
        except Exception as e: print(g, "tx", e)
    t=time.time()
    for g in range(100): await r.call("eth_simulateV1", {"blockStateCalls":[{"calls":[{"from":RELAYER,"to":world.target.gate,"input":data,"gas":hex(500000), "gasPrice":"0x0"}]}], "validation": False}, "latest")
    print((time.time()-t)/100)
