# pragma version 0.4.3
"""
@title delayed_owner
@license MIT
@notice An owner whose every act is announced and visible for a fixed delay before it can happen, and who changes in two steps.
        An act is announced as the keccak256 of the exact calldata that will perform it.
"""

event Announced:
    action: indexed(bytes32)
    due: uint256

event Withdrawn:
    action: indexed(bytes32)

event OwnerChanged:
    owner: indexed(address)

# An announced act that nobody performed goes stale.
GRACE: constant(uint256) = 14 * 86400

DELAY: immutable(uint256)

owner: public(address)
pending_owner: public(address)
due: public(HashMap[bytes32, uint256])


@deploy
def __init__(owner: address, delay: uint256):
    """
    @param delay Seconds between announcing an act and performing it; 0 on development deployments only.
    """
    assert owner != empty(address), "owner: zero address"
    DELAY = delay
    self.owner = owner
    log OwnerChanged(owner=owner)


@external
@view
def delay() -> uint256:
    return DELAY


@external
def announce(action: bytes32):
    """
    @param action keccak256 of the calldata of the act.
    """
    assert msg.sender == self.owner, "owner: not the owner"
    due: uint256 = block.timestamp + DELAY
    self.due[action] = due
    log Announced(action=action, due=due)


@external
def withdraw(action: bytes32):
    """
    @notice Take back an announcement.
    """
    assert msg.sender == self.owner, "owner: not the owner"
    self.due[action] = 0
    log Withdrawn(action=action)


@external
def transfer_ownership(owner: address):
    """
    @notice Name a successor, who must accept.
    """
    self._perform(keccak256(slice(msg.data, 0, 36)))
    self.pending_owner = owner


@external
def accept_ownership():
    """
    @notice By the named successor: become the owner.
    """
    assert msg.sender == self.pending_owner, "owner: not the successor"
    self.owner = msg.sender
    self.pending_owner = empty(address)
    log OwnerChanged(owner=msg.sender)


@internal
def _perform(action: bytes32):
    """
    @notice Reverts unless the caller is the owner and has announced exactly this act long enough ago.
    """
    assert msg.sender == self.owner, "owner: not the owner"
    if DELAY != 0:
        due: uint256 = self.due[action]
        assert due != 0, "owner: not announced"
        assert block.timestamp >= due, "owner: still delayed"
        assert block.timestamp <= due + GRACE, "owner: announcement is stale"
        self.due[action] = 0
