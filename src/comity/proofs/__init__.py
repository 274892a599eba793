"""Proofs against a block hash: RLP, headers, Merkle-Patricia tries. Pure; trusts nobody."""
