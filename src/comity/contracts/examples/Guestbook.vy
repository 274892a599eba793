# pragma version 0.4.3
# pragma evm-version prague
"""
@title Guestbook
@license MIT
@notice An example of an app: keeps what others wrote from other chains, answers a question mark with the number of entries,
        and can be closed by its owner, whereupon messages fail. It also writes into other guestbooks.
@custom:trust The Gate that it was deployed with, under the policies that its owner sets there.
@custom:kill Its owner closes it.
"""

from ..app import endpoint
from ..core import interop_address

initializes: endpoint
exports: endpoint.peers

event Written:
    id: indexed(bytes32)
    chain_id: indexed(uint256)
    writer: indexed(address)
    entry: Bytes[endpoint.MAX_PAYLOAD]

QUESTION: constant(bytes1) = 0x3f

owner: public(address)
is_open: public(bool)
count: public(uint256)
last: public(Bytes[endpoint.MAX_PAYLOAD])


@deploy
def __init__(gate: address, is_open: bool):
    endpoint.__init__(gate)
    self.owner = msg.sender
    self.is_open = is_open


@external
def set_open(is_open: bool):
    """
    @notice Open or close the book; while it is closed, messages fail.
    """
    assert msg.sender == self.owner, "guestbook: not the owner"
    self.is_open = is_open


@external
def set_peer(chain_id: uint256, account: address, policy: uint256):
    """
    @notice The guestbook on another chain that `write` reaches.
    """
    assert msg.sender == self.owner, "guestbook: not the owner"
    endpoint._set_peer(chain_id, account, policy)


@external
@payable
def write(destination: uint256, entry: Bytes[endpoint.MAX_PAYLOAD], terms: endpoint.Terms) -> bytes32:
    """
    @notice Write into the peer's book on another chain; the value is the fee.
    """
    assert msg.value == terms.fee, "guestbook: the value is the fee"
    return endpoint._send(destination, entry, terms)


@external
@payable
def receiveMessage(
    receive_id: bytes32, sender: Bytes[endpoint.MAX_SENDER], payload: Bytes[endpoint.MAX_PAYLOAD]
) -> bytes4:
    """
    @param sender ERC-7930: chain and account that sent it.
    """
    writer: interop_address.Account = endpoint._identify(sender)
    assert self.is_open, "guestbook: closed"
    assert len(payload) != 0, "guestbook: empty entry"
    self.count += 1
    self.last = payload
    log Written(id=receive_id, chain_id=writer.chain_id, writer=writer.account, entry=payload)
    if convert(slice(payload, 0, 1), bytes1) == QUESTION:
        endpoint._reply(abi_encode(self.count))
    return endpoint.MAGIC
