"""Delivers envelopes: indexes chains, collects proofs, forms runs, sends them, expires what nobody delivered."""

from comity.agents.relayer.agent import RelayedChain, RelayedLane, Relayer
from comity.agents.relayer.lane import clear_halt
from comity.agents.relayer.options import RelayOptions
from comity.agents.relayer.proofs import ProofSource

__all__ = ["ProofSource", "RelayOptions", "RelayedChain", "RelayedLane", "Relayer", "clear_halt"]
