"""Deployments: onto configured chains, onto chains of this machine, and a demonstration of everything."""
