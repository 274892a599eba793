# pragma version 0.4.3
"""
@title brake
@license MIT
@notice Guardians who may stop one thing (a lane, a verifier) for at most 7 days in any 30, counted over all guardians.
        A stop ends by itself.
"""

MAX_STOPPED: constant(uint256) = 7 * 86400
WINDOW: constant(uint256) = 30 * 86400
# Stops of one thing that a window may hold.
KEPT: constant(uint256) = 8
MASK_40: constant(uint256) = 2**40 - 1

event GuardianSet:
    guardian: indexed(address)
    active: bool

guardians: public(HashMap[address, bool])
# thing -> its last stops, each start (40) << 40 | end (40), in seconds
stops: HashMap[bytes32, uint256[KEPT]]
stop_count: HashMap[bytes32, uint256]


@internal
def _set_guardian(guardian: address, active: bool):
    assert guardian != empty(address), "authority: zero guardian"
    self.guardians[guardian] = active
    log GuardianSet(guardian=guardian, active=active)


@internal
def _stop(thing: bytes32, duration: uint256) -> uint256:
    """
    @param duration Seconds.
    @return When the stop ends, in seconds.
    """
    assert self.guardians[msg.sender], "authority: not a guardian"
    assert duration != 0, "authority: no duration"
    until: uint256 = block.timestamp + duration
    since: uint256 = 0
    if until > WINDOW:
        since = until - WINDOW
    used: uint256 = duration
    for i: uint256 in range(KEPT):
        stop: uint256 = self.stops[thing][i]
        end: uint256 = stop & MASK_40
        assert end <= block.timestamp, "authority: stopped already"
        if end > since:
            used += end - max(stop >> 40, since)
    assert used <= MAX_STOPPED, "authority: at most 7 days of stops in any 30"
    count: uint256 = self.stop_count[thing]
    oldest: uint256 = self.stops[thing][count % KEPT]
    if oldest & MASK_40 > since:
        # No place is left: what the oldest used up is counted as used just before the next, which keeps it in view for longer.
        # Refusing instead would let one guardian disarm the brake with many short stops.
        self.stops[thing][(count + 1) % KEPT] -= ((oldest & MASK_40) - (oldest >> 40)) << 40
    self.stops[thing][count % KEPT] = block.timestamp << 40 | until
    self.stop_count[thing] = count + 1
    return until


@internal
def _release(thing: bytes32):
    """
    @notice End a running stop early; only the time used counts.
    """
    assert self.guardians[msg.sender], "authority: not a guardian"
    count: uint256 = self.stop_count[thing]
    assert count != 0, "authority: not stopped"
    stop: uint256 = self.stops[thing][(count - 1) % KEPT]
    assert stop & MASK_40 > block.timestamp, "authority: not stopped"
    self.stops[thing][(count - 1) % KEPT] = stop & ~MASK_40 | block.timestamp
