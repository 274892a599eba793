"""For whoever sends envelopes: a client, traces, wallets and keys."""
