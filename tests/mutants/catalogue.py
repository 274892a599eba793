"""Every mutant."""

from tests.mutants import attestation, authority, delivery, gate, modules, router

MUTANTS = (
    *delivery.MUTANTS,
    *gate.MUTANTS,
    *router.MUTANTS,
    *authority.MUTANTS,
    *attestation.MUTANTS,
    *modules.MUTANTS,
)
