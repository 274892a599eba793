"""Every external function of every deployable contract, called by an outsider: found in the ABI, not in a list.

A function that is open to anyone is named here with what it may change. Any other must leave all storage as it was,
so a new entry point without a guard fails here before anybody thinks of it.
"""

from itertools import product

import pytest

from comity.chain.bindings import compute_selector, encode_call
from comity.compiler import load_artifact
from comity.core.errors import Rejected
from tests.contracts.world import OUTSIDER, POLICY

CONTRACTS = {"Router": "router", "Gate": "gate", "Authority": "authority", "Attestation": None}
OPEN = {
    ("Router", "dispatch"): {"words"},
    ("Router", "sendMessage"): {"words"},
    ("Router", "set_profile"): {"profile of the caller"},
    ("Router", "snapshot"): {"snapshots"},
    ("Gate", "deliver"): {"words", "marks"},
    ("Gate", "expire"): {"words", "status"},
    ("Gate", "snapshot"): {"snapshots"},
    ("Gate", "set_policy"): {"policy of the caller"},
    ("Gate", "set_tiers"): {"policy of the caller"},
    ("Authority", "report"): {"suspension of a verifier that contradicted itself"},
    ("Authority", "refresh"): {"usable"},
}
"""What an outsider may call, and what it then changes; each is tested where the function is."""

SAMPLES = {
    "uint256": (0, 1, POLICY, 1 << 40),
    "uint160": (0, 1),
    "address": (OUTSIDER, b"\0" * 19 + b"\1"),
    "bytes32": (bytes(32), b"\1" * 32),
    "bytes4": (bytes(4),),
    "bool": (True, False),
    "bytes": (b"", b"\1" * 300),
    "bytes[]": ((),),
    "address[]": ((OUTSIDER,),),
    "(uint256,uint256)[]": (((0, POLICY),),),
    "(uint256,uint256,uint256,uint256)": ((POLICY, POLICY, 1, 100),),
}


def name_type(parameter):
    """The canonical name of an ABI type."""
    if not parameter["type"].startswith("tuple"):
        return parameter["type"]
    inside = ",".join(name_type(component) for component in parameter["components"])
    return f"({inside})" + parameter["type"][len("tuple") :]


def list_functions(changing):
    """(contract, name, argument types) of each function that changes state, or of each that does not."""
    for contract in CONTRACTS:
        for entry in load_artifact(contract).abi:
            if entry["type"] == "function" and (entry["stateMutability"] in ("nonpayable", "payable")) == changing:
                yield contract, entry["name"], tuple(name_type(parameter) for parameter in entry["inputs"])


FUNCTIONS = list(list_functions(changing=True))


def locate(world, contract):
    field = CONTRACTS[contract]
    return getattr(world.target, field) if field else world.attestation


async def fetch_state(world):
    """Storage, balance and nonce of each contract, as hashes."""
    state = {}
    for contract in CONTRACTS:
        proof = await world.destination.rpc.fetch_proof(locate(world, contract))
        state[contract] = (proof.storage_root, proof.balance, proof.nonce, proof.code_hash)
    return state


def build_calls(name, types, lane):
    """Calldata of a function with every combination of a few arguments, the open lane among them."""
    samples = [(*SAMPLES[each], *([lane] if each == "bytes32" else [])) for each in types]
    combinations = list(product(*samples))
    step = max(1, len(combinations) // 60)
    return [encode_call(f"{name}({','.join(types)})", *values) for values in combinations[::step]]


@pytest.mark.threat("C5")
@pytest.mark.parametrize(("contract", "name", "types"), FUNCTIONS, ids=[f"{one[0]}.{one[1]}" for one in FUNCTIONS])
async def test_an_outsider_changes_nothing(world, sent, contract, name, types):
    """Whatever the arguments; unless the function is open to all, and then only what is the caller's own."""
    sent.add(await world.deploy_receiver())
    await world.deliver(sent.run())
    before = await fetch_state(world)
    for calldata in build_calls(name, types, world.lane):
        await world.destination.attempt(locate(world, contract), calldata, sender=OUTSIDER, gas=3_000_000)
    if (contract, name) not in OPEN:
        assert await fetch_state(world) == before


@pytest.mark.threat("C5")
def test_every_function_that_is_open_to_all_still_exists():
    assert set(OPEN) <= {(contract, name) for contract, name, _ in FUNCTIONS}


@pytest.mark.threat("B16")
async def test_only_a_dispatch_moves_the_word_that_attestors_sign(world):
    """Attestors read words, not events; here nothing but `dispatch` and `sendMessage` may touch the Router's."""
    movers = set()
    view = encode_call("words(bytes32)", world.lane)
    for contract, name, types in FUNCTIONS:
        if contract != "Router":
            continue
        word = await world.origin.call(world.source.router, view)
        for sender in (OUTSIDER, world.source.authority, world.origin.account):
            for calldata in build_calls(name, types, world.lane):
                await world.origin.attempt(world.source.router, calldata, sender=sender, gas=3_000_000)
        await world.origin.send(world.source.router, world.encode_dispatch(OUTSIDER)) if name == "dispatch" else None
        if await world.origin.call(world.source.router, view) != word:
            movers.add(name)
    assert movers == {"dispatch"}


@pytest.mark.threat("E8")
@pytest.mark.parametrize("contract", CONTRACTS)
async def test_nothing_can_be_initialised_again_or_upgraded(world, contract):
    """There is no proxy and no initialiser: what a constructor set stands in immutable code."""
    names = [entry["name"] for entry in load_artifact(contract).abi if entry["type"] == "function"]
    assert not [name for name in names if "init" in name.lower() or "upgrade" in name.lower()]
    for signature in ("initialize()", "init()", "initialize(address)", "__init__(address,address)"):
        with pytest.raises(Rejected):
            await world.destination.send(locate(world, contract), compute_selector(signature) + bytes(64))


@pytest.mark.threat("E8")
@pytest.mark.parametrize("contract", CONTRACTS)
def test_no_code_runs_in_the_place_of_another(contract):
    """No DELEGATECALL, CALLCODE or SELFDESTRUCT."""
    opcodes = set(walk(load_artifact(contract).runtime))
    assert not opcodes & {0xF2, 0xF4, 0xFF}


def walk(code):
    """The opcodes of a contract, without the data that they push."""
    at = 0
    while at < len(code):
        yield code[at]
        at += 1 + max(0, code[at] - 0x5F) * (0x60 <= code[at] <= 0x7F)


@pytest.mark.threat("C5")
async def test_no_contract_takes_coins_that_it_would_keep(world):
    """Only a dispatch has a fee; everything else refuses value."""
    for contract, entry in ((each, entry) for each in CONTRACTS for entry in load_artifact(each).abi):
        payable = entry.get("stateMutability") == "payable"
        assert payable == ((contract, entry.get("name")) in {("Router", "dispatch"), ("Router", "sendMessage")})
        with pytest.raises(Rejected):
            await world.destination.send(locate(world, contract), b"", value=1)
