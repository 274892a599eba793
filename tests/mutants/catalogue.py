"""Every mutant."""

from tests.mutants import attestation, authority, delivery, front_door, gate, modules, receiver_policies, router

MUTANTS = (
    *delivery.MUTANTS,
    *gate.MUTANTS,
    *receiver_policies.MUTANTS,
    *router.MUTANTS,
    *front_door.MUTANTS,
    *authority.MUTANTS,
    *attestation.MUTANTS,
    *modules.MUTANTS,
)
