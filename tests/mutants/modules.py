"""Mutants of the pure modules."""

from tests.mutants.mutant import drop, swap

POLICY, LANE, ENVELOPE, ADDRESS = (f"core/{name}.vy" for name in ("policy", "lane", "envelope", "interop_address"))
D = "differential"
UNDER = "contracts/gate/test_deliver_policy.py"

MUTANTS = (
    swap(
        "required verifiers left out",
        POLICY,
        "    if required & verified != required:",
        "    if False:",
        f"{UNDER}::test_deliver_executes_exactly_under_the_sender_the_receiver_and_the_floor",
        f"{D}/test_policy.py::test_every_policy_over_four_verifiers_means_the_same",
    ),
    swap(
        "one optional verifier less",
        POLICY,
        "    return self._count((word >> OPTIONAL_SHIFT) & MASK & verified) >= threshold",
        "    return self._count((word >> OPTIONAL_SHIFT) & MASK & verified) + 1 >= threshold",
        f"{UNDER}::test_deliver_executes_exactly_under_the_sender_the_receiver_and_the_floor",
        f"{D}/test_policy.py::test_every_policy_over_four_verifiers_means_the_same",
    ),
    swap(
        "a policy that nothing satisfies, or everything",
        POLICY,
        "        return optional == 0 and required != 0",
        "        return optional == 0",
        "contracts/router/test_dispatch.py::test_dispatch_refuses_an_ill_formed_policy",
        "contracts/gate/test_set_policy.py::test_no_tier_takes_calls_under_nothing",
        threats="B4 A1",
    ),
    swap(
        "a verifier both required and optional",
        POLICY,
        "    return required & optional == 0 and threshold <= self._count(optional)",
        "    return threshold <= self._count(optional)",
        "contracts/router/test_dispatch.py::test_dispatch_refuses_an_ill_formed_policy",
        threats="B4",
    ),
    swap(
        "required verifiers count for no optional one",
        POLICY,
        "    sure: uint256 = self._count(wanted & required)",
        "    sure: uint256 = 0",
        "contracts/router/test_send_message.py::test_send_message_holds_the_floor_against_profile_and_attribute",
        f"{D}/test_policy.py::test_every_policy_over_four_verifiers_means_the_same",
    ),
    swap(
        "one meaning, two directions",
        LANE,
        "    seed: uint256 = convert(keccak256(abi_encode(lane, direction)), uint256) & ACCUMULATOR_MASK",
        "    seed: uint256 = convert(keccak256(abi_encode(lane)), uint256) & ACCUMULATOR_MASK",
        "contracts/router/test_authority_only.py::test_open_lane_computes_its_id_and_seed",
        "contracts/gate/test_authority_only.py::test_open_lane_computes_its_id_and_seed",
    ),
    swap(
        "a lane of any destination",
        LANE,
        "    return keccak256(abi_encode(origin, router, destination, gate))",
        "    return keccak256(abi_encode(origin, router, gate))",
        "contracts/gate/test_authority_only.py::test_open_lane_computes_its_id_and_seed",
        threats="B12",
    ),
    swap(
        "a digest without its word",
        LANE,
        "    return keccak256(abi_encode(CHECKPOINT_TYPEHASH, lane, direction, word))",
        "    return keccak256(abi_encode(CHECKPOINT_TYPEHASH, lane, direction))",
        "contracts/gate/test_deliver_verifiers.py::test_deliver_refuses_the_digest_of_another_checkpoint",
        f"{D}/test_lane.py::test_checkpoints_have_the_same_digest",
    ),
    swap(
        "more assets than can be",
        ENVELOPE,
        "    if assets > MAX_ASSETS or",
        "    if",
        f"{D}/test_envelope.py::test_head_is_canonical_for_the_contract_exactly_when_python_decodes_it",
        threats="C3",
    ),
    drop(
        "two spellings of one chain",
        ADDRESS,
        '    assert chain_id >> (8 * (reference - 1)) != 0, "address: chain reference is not minimal"',
        f"{D}/test_interop_address.py::test_changed_cut_and_extended_texts_are_refused_alike",
        threats="A6",
    ),
    drop(
        "an address of another kind of chain",
        ADDRESS,
        '    assert head >> 8 == PREFIX, "address: not an eip155 account of version 1"',
        f"{D}/test_interop_address.py::test_changed_cut_and_extended_texts_are_refused_alike",
        threats="C3",
    ),
    drop(
        "an address that is no address",
        ADDRESS,
        '    assert convert(slice(text, 5 + reference, 1), uint256) == 20, "address: not 20 bytes"',
        f"{D}/test_interop_address.py::test_changed_cut_and_extended_texts_are_refused_alike",
        threats="C3",
    ),
    drop(
        "the zero account",
        ADDRESS,
        '    assert account != empty(address), "address: zero account"',
        f"{D}/test_interop_address.py::test_texts_of_any_lengths_are_refused_alike",
        threats="C12",
    ),
    drop(
        "an address of any length",
        ADDRESS,
        '    assert size == 26 + reference, "address: wrong length"',
        f"{D}/test_interop_address.py::test_texts_of_any_lengths_are_refused_alike",
        threats="C3",
    ),
)
