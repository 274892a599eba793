# pragma version 0.4.3
"""
@title endpoint
@license MIT
@notice What an app embeds to be called from other chains, and to call them: who sent a message, under which policy it is
        taken, what was verified, how to answer, how to send. Spec: spec/envelope.md.
@custom:trust The Gate it was initialised with, and under it the policies that the app accepts for each chain.
"""

from ..core import envelope
from ..core import interop_address
from ..interfaces import IGate
from ..interfaces import IRouter

# A hook returns this to say that it took the message.
MAGIC: constant(bytes4) = 0x2432ef26
MAX_SENDER: constant(uint256) = interop_address.MAX_LENGTH
MAX_PAYLOAD: constant(uint256) = 1024

event PeerSet:
    chain_id: indexed(uint256)
    account: indexed(address)


# How an envelope is sent.
struct Terms:
    # the weakest policy it is executed under, and the one its receipt is accepted under, as words
    policy: uint256
    return_policy: uint256
    # wei of this chain's coin, paid for a terminal outcome
    fee: uint256
    # gas of the hook on the destination
    gas_limit: uint256
    # seconds from now until the deadline, at most 30 days
    lifetime: uint256
    # tried again until the deadline when the hook fails; otherwise a failure is final
    retryable: bool


GATE: immutable(IGate)
ROUTER: immutable(IRouter)

# chain -> the account there that may call this app, and that it calls
peers: public(HashMap[uint256, address])


@deploy
def __init__(gate: address):
    GATE = IGate(gate)
    ROUTER = IRouter(staticcall IGate(gate).router())


@internal
@view
def _authenticate(sender: Bytes[MAX_SENDER]) -> interop_address.Account:
    """
    @notice Call this first in `receiveMessage`: reverts unless the Gate calls, with a message of this chain's peer.
    @return The sender.
    """
    account: interop_address.Account = self._identify(sender)
    peer: address = self.peers[account.chain_id]
    assert peer != empty(address) and account.account == peer, "endpoint: not a peer"
    return account


@internal
@view
def _identify(sender: Bytes[MAX_SENDER]) -> interop_address.Account:
    """
    @notice The same for an app that hears anyone: reverts unless the Gate calls.
    """
    assert msg.sender == GATE.address, "endpoint: not the gate"
    return interop_address._decode(sender)


@internal
@view
def _context() -> IGate.Context:
    """
    @notice The id of the envelope whose hook is running, its lane, and the mask of verifiers that accepted it.
    """
    return staticcall GATE.context()


@internal
def _reply(result: Bytes[MAX_PAYLOAD]):
    """
    @notice The result that the receipt carries back to the sender; the last call counts.
    """
    extcall GATE.reply(result)


@internal
def _set_peer(chain_id: uint256, account: address, policy: uint256):
    """
    @notice Trust an account on another chain, under the weakest policy that its messages are taken under. The caller decides
            who may do this. No account and no policy ends it.
    """
    assert (account == empty(address)) == (policy == 0), "endpoint: an account and a policy, or neither"
    self.peers[chain_id] = account
    lane: bytes32 = staticcall GATE.lane_from(chain_id)
    assert lane != empty(bytes32), "endpoint: no lane from this chain"
    extcall GATE.set_policy(lane, self, policy)
    log PeerSet(chain_id=chain_id, account=account)


@internal
def _send(destination: uint256, payload: Bytes[MAX_PAYLOAD], terms: Terms) -> bytes32:
    """
    @notice Call the peer on another chain.
    @param terms The fee is taken from this contract's balance.
    @return The envelope's id.
    """
    peer: address = self.peers[destination]
    assert peer != empty(address), "endpoint: no peer there"
    return self._send_to(destination, peer, payload, terms)


@internal
def _send_to(destination: uint256, receiver: address, payload: Bytes[MAX_PAYLOAD], terms: Terms) -> bytes32:
    """
    @notice Call any account on another chain.
    """
    lane: bytes32 = staticcall ROUTER.lane_to(destination)
    assert lane != empty(bytes32), "endpoint: no lane to this chain"
    assert terms.gas_limit <= envelope.MASK_32, "endpoint: gas limit too high"
    head: uint256 = (
        block.timestamp + terms.lifetime
    ) << envelope.BEFORE_SHIFT | terms.gas_limit << envelope.GAS_SHIFT
    if terms.retryable:
        head |= envelope.RETRYABLE << envelope.FLAGS_SHIFT
    return extcall ROUTER.dispatch(
        lane, convert(receiver, bytes32), terms.policy, terms.return_policy, head, 0, payload, value=terms.fee
    )
