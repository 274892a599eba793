# pragma version 0.4.3
# pragma evm-version prague
"""
@title Attestation
@license MIT
@notice Accepts a checkpoint that M of the N members of its current set have signed.
        Spec: spec/verification.md. Twins: comity/core/attestation.py, comity/tiers/attestation.py.
@custom:trust Fewer than M members of the set lie or lose their keys. M liars can make it accept any word, for those
              envelopes whose policies this verifier satisfies, and for nobody else's.
@custom:kill The owner rotates the set with no overlap; a Gate's guardian suspends the verifier, its owner revokes it.
"""

from ..parts import delayed_owner
from ..core import lane as lane_module

initializes: delayed_owner
exports: (
    delayed_owner.owner,
    delayed_owner.pending_owner,
    delayed_owner.due,
    delayed_owner.delay,
    delayed_owner.announce,
    delayed_owner.withdraw,
    delayed_owner.transfer_ownership,
    delayed_owner.accept_ownership,
)

event Rotated:
    epoch: indexed(uint256)
    set_id: uint256
    threshold: uint256
    finality: uint256
    members: DynArray[address, MAX_MEMBERS]
    overlap: uint256

MAX_MEMBERS: constant(uint256) = 32
MAX_PROOF: constant(uint256) = 2080
MAX_OVERLAP: constant(uint256) = 7 * 86400
HEADER: constant(uint256) = 14
FOR_EVER: constant(uint256) = 2**40 - 1
LOW_255: constant(uint256) = 2**255 - 1
SET_MASK: constant(uint256) = 2**216 - 1
# Half the order of secp256k1: of the two signatures a key can give, only the low one counts.
HALF_ORDER: constant(uint256) = 57896044618658097711785492504343953926418782139537452191302581570759080747168

DOMAIN_TYPEHASH: constant(bytes32) = keccak256(
    "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
)
ATTESTATION_TYPEHASH: constant(bytes32) = keccak256(
    "Attestation(bytes32 lane,uint8 direction,uint256 word,uint256 set)"
)

CHAIN_ID: immutable(uint256)
DOMAIN: immutable(bytes32)
DEVELOPMENT: immutable(bool)

epoch: public(uint256)
# epoch -> expiry in seconds (40 bits) | set id (216 bits)
sets: public(HashMap[uint256, uint256])


@deploy
def __init__(
    owner: address, delay: uint256, development: bool, members: DynArray[address, MAX_MEMBERS], threshold: uint256, finality: uint256
):
    """
    @param development Allows a set of threshold one; its digests are those of another domain.
    @param members Strictly ascending addresses, at most 32.
    @param finality The rule's code, as in spec/verification.md; part of the set's id.
    """
    assert development or delay != 0, "attestation: a delay is needed"
    delayed_owner.__init__(owner, delay)
    CHAIN_ID = chain.id
    DEVELOPMENT = development
    version: String[13] = "1"
    if development:
        version = "1-development"
    DOMAIN = keccak256(
        abi_encode(DOMAIN_TYPEHASH, keccak256("Comity Attestation"), keccak256(version), chain.id, self)
    )
    self._adopt(members, threshold, finality, 0)


@external
@view
def development() -> bool:
    return DEVELOPMENT


@external
@view
def assurance() -> uint256:
    return 1


@external
@view
def domain() -> bytes32:
    return DOMAIN


@external
def rotate(members: DynArray[address, MAX_MEMBERS], threshold: uint256, finality: uint256, overlap: uint256):
    """
    @notice Replace the set. The old one stays valid for the overlap, then dies; one that it had replaced dies at once.
    @param overlap Seconds, at most 7 days; 0 when a key was lost.
    """
    delayed_owner._perform(
        keccak256(
            abi_encode(
                members, threshold, finality, overlap,
                method_id=method_id("rotate(address[],uint256,uint256,uint256)"),
            )
        )
    )
    self._adopt(members, threshold, finality, overlap)


@external
@view
def verify(lane: bytes32, direction: uint256, word: uint256, proof: Bytes[MAX_PROOF]) -> bytes32:
    """
    @notice Reverts unless exactly the threshold's number of members signed the checkpoint; returns its digest.
    @param proof epoch (4) | threshold (1) | finality (4) | member count (1) | signer bitmap (4) | the absent members in order,
                 20 bytes each | the signers' signatures in order, r (32) and y parity (1 bit) s (255 bits) each.
    """
    assert chain.id == CHAIN_ID, "attestation: wrong chain"
    head: uint256 = convert(extract32(proof, 0), uint256)
    epoch: uint256 = head >> 224
    threshold: uint256 = (head >> 216) & 255
    count: uint256 = (head >> 176) & 255
    signed: uint256 = (head >> 144) & 4294967295
    record: uint256 = self.sets[epoch]
    assert record != 0, "attestation: unknown set"
    assert block.timestamp <= record >> 216, "attestation: set expired"
    assert signed >> count == 0, "attestation: malformed proof"
    record &= SET_MASK

    digest: bytes32 = keccak256(
        concat(x"1901", DOMAIN, keccak256(abi_encode(ATTESTATION_TYPEHASH, lane, direction, word, record)))
    )
    absent: uint256 = HEADER
    signatures: uint256 = len(proof) - (threshold << 6)
    signature: uint256 = signatures
    members: DynArray[address, MAX_MEMBERS] = []
    for i: uint256 in range(count, bound=MAX_MEMBERS):
        if signed & 1 == 1:
            s: uint256 = convert(extract32(proof, unsafe_add(signature, 32)), uint256)
            v: uint256 = unsafe_add(27, s >> 255)
            s &= LOW_255
            assert s <= HALF_ORDER, "attestation: high s"
            members.append(ecrecover(digest, v, convert(extract32(proof, signature), uint256), s))
            signature = unsafe_add(signature, 64)
        else:
            members.append(convert(convert(extract32(proof, absent), uint256) >> 96, address))
            absent = unsafe_add(absent, 20)
        signed = signed >> 1
    assert signature == len(proof) and absent == signatures, "attestation: malformed proof"
    # A signer's address enters the set's preimage only by recovery: another key, a repeated or a misplaced one is another set.
    assert self._compute_set_id(epoch, threshold, (head >> 184) & 4294967295, members) == record, "attestation: not signed by the set"
    return keccak256(abi_encode(lane_module.CHECKPOINT_TYPEHASH, lane, direction, word))


@internal
def _adopt(members: DynArray[address, MAX_MEMBERS], threshold: uint256, finality: uint256, overlap: uint256):
    assert threshold != 0 and threshold <= len(members), "attestation: unreachable threshold"
    assert DEVELOPMENT or threshold > 1, "attestation: one signer is not a quorum"
    assert finality != 0 and finality < 2**32, "attestation: unknown finality rule"
    assert overlap <= MAX_OVERLAP, "attestation: overlap too long"
    previous: address = empty(address)
    for member: address in members:
        assert convert(member, uint160) > convert(previous, uint160), "attestation: members not ascending"
        previous = member

    old: uint256 = self.epoch
    epoch: uint256 = old + 1
    if old != 0:
        self.sets[old] = (block.timestamp + overlap) << 216 | self.sets[old] & SET_MASK
        # One set at most overlaps the current one: what an earlier rotation left alive dies now, lest a lost key live on.
        older: uint256 = self.sets[old - 1]
        if older >> 216 > block.timestamp:
            self.sets[old - 1] = block.timestamp << 216 | older & SET_MASK
    set_id: uint256 = self._compute_set_id(epoch, threshold, finality, members)
    self.epoch = epoch
    self.sets[epoch] = FOR_EVER << 216 | set_id
    log Rotated(
        epoch=epoch, set_id=set_id, threshold=threshold, finality=finality, members=members, overlap=overlap
    )


@internal
@pure
def _compute_set_id(
    epoch: uint256, threshold: uint256, finality: uint256, members: DynArray[address, MAX_MEMBERS]
) -> uint256:
    return convert(keccak256(abi_encode(epoch, threshold, finality, members)), uint256) & SET_MASK
