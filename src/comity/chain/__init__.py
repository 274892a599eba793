"""Talking to chains: JSON-RPC, quorums of providers, following, signing, sending, and the contracts' bindings."""
