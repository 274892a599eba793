"""The attestor: proves the words of its lanes in final blocks, signs them, and serves the signatures.

Trusts a quorum of its providers for block hashes and finality, and nothing else. Spec: spec/verification.md,
"Attestation". Twins: contracts/verifiers/Attestation.vy, tiers/attestation_client.py.
"""

from comity.agents.attestor.agent import Attestor
from comity.agents.attestor.duty import AttestedChain, Duty

__all__ = ["AttestedChain", "Attestor", "Duty"]
