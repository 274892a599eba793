"""What an attestor is asked to attest: chains, and for each direction of a lane the verifier and set it signs for.

Trusts the operator's configuration as far as it is consistent. Spec: spec/verification.md, "Attestation".
"""

from dataclasses import dataclass

from comity.chain.quorum import ProviderQuorum
from comity.core.attestation import AttestationSet
from comity.core.errors import ConfigError
from comity.core.finality import FinalityRule
from comity.core.lane import compute_lane
from comity.core.types import Address, ChainId, Direction, Lane
from comity.store.port import LaneRecord
from comity.tiers.attestation import AttestationVerifier


@dataclass(frozen=True, slots=True)
class AttestedChain:
    """A chain whose words are attested."""

    name: str
    """CAIP-2."""
    chain_id: ChainId
    quorum: ProviderQuorum
    finality: FinalityRule
    start_block: int = 1
    """Nothing below it is asked for; at least 1, as a genesis state is not proved everywhere."""


@dataclass(frozen=True, slots=True)
class Duty:
    """One direction of one lane, for one verifier and one set; a rotation adds a duty."""

    name: str
    """The operator's name of the lane, in logs and metrics."""
    lane: LaneRecord
    direction: Direction
    verifier: AttestationVerifier
    attestation_set: AttestationSet

    @property
    def id(self) -> Lane:
        """The lane's id."""
        return self.lane.lane

    @property
    def chain_id(self) -> ChainId:
        """Where the word is kept."""
        return self.lane.origin if self.direction == Direction.DISPATCHES else self.lane.destination

    @property
    def contract(self) -> Address:
        """Who keeps the word: the Router of the origin, or the Gate of the destination."""
        keeper = self.lane.router if self.direction == Direction.DISPATCHES else self.lane.gate
        return Address(keeper[-20:])

    @property
    def cursor(self) -> str:
        """Name of this duty's cursor."""
        verifier = f"{self.verifier.chain_id}/{self.verifier.address.hex()}"
        return f"attestor/{self.id.hex()}/{int(self.direction)}/{verifier}/{self.attestation_set.id:x}"

    def validate(self, signer: Address, chains: dict[ChainId, AttestedChain]) -> None:
        """Check everything that is known before a provider is asked.

        Raises:
            ConfigError: the duty contradicts itself, its chain or the signer.
        """
        lane = self.lane
        computed = compute_lane(lane.origin, lane.router, lane.destination, lane.gate)
        _expect(self, "the lane is not the hash of its parts", computed, lane.lane)
        checked_on = lane.destination if self.direction == Direction.DISPATCHES else lane.origin
        _expect(self, "the verifier is on the wrong chain", checked_on, self.verifier.chain_id)
        if self.chain_id not in chains:
            raise ConfigError("the lane's chain is not configured", lane=self.name, chain_id=self.chain_id)
        chain = chains[self.chain_id]
        _expect(self, "the set asks for another finality rule", self.attestation_set.finality, chain.finality.code)
        if chain.quorum.quorum < 2 and not self.verifier.development:
            raise ConfigError(
                "one provider is not a quorum",
                lane=self.name,
                chain=chain.name,
                next_step="configure several providers, run by different people",
            )
        if signer not in self.attestation_set.members:
            raise ConfigError(
                "the signer is not a member of the set",
                lane=self.name,
                signer=signer,
                epoch=self.attestation_set.epoch,
                next_step="use the member's key, or leave this lane to its members",
            )


def _expect(duty: Duty, message: str, expected: object, configured: object) -> None:
    if expected != configured:
        raise ConfigError(message, lane=duty.name, expected=expected, configured=configured)
