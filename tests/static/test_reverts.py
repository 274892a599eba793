"""Every reason for which a contract refuses is one that agents know, or one that no honest agent can be given."""

import pytest
from vyper import ast as vyper_ast

from comity.chain.bindings import REVERTS, classify_revert
from tests.static.repository import PUBLIC, name_of, parse

ATTESTATION = "attestation: "
"""Whatever this verifier dislikes, another proof is the remedy: agents go by the prefix."""

UNMET_PREFIXES = {
    "router: ": "agents send nothing; who sends through the SDK is shown the reason as it is",
    "address: ": "read from the recipient that a sender names, and in receivers' hooks",
    "owner: ": "agents own nothing; owners and guardians act through the CLI, which shows the reason",
    "authority: ": "the same",
    "endpoint: ": "inside the hooks of apps, whose reasons the Gate records and does not pass on",
    "guestbook: ": "the same",
}
UNMET = {
    "gate: only the gate": "of the Gate's call to itself",
    "gate: receiver did not acknowledge": "inside the Gate's call to itself; recorded in `Failed`",
    "gate: no hook is running": "agents do not ask for the context",
    "gate: no hook of this receiver is running": "agents do not reply",
    "gate: empty reply": "agents do not reply",
    "gate: nothing to keep": "agents keep a word only of a lane in which they saw receipts",
    "gate: zero address": "of the constructor",
    "gate: no such origin": "of the Authority's acts",
    "gate: lane is open": "of the Authority's acts",
    "gate: zero verifier": "of the Authority's acts",
    "gate: not the next index": "of the Authority's acts",
    "gate: an index never changes its meaning": "of the Authority's acts",
    "gate: a pause ends within 7 days": "of the Authority's acts",
    "gate: not the authority": "of the Authority's acts",
    "gate: policy is not well-formed": "of receivers and of the Authority's acts",
    "gate: tiers start at 0": "of receivers",
    "gate: tiers not ascending": "of receivers",
    "gate: zero receiver": "of receivers",
    "gate: not the receiver or its owner": "of receivers",
}


def list_guards():
    """Each assert and raise of the contracts: where it stands, its reason or None, and the text of its lines."""
    guards = []
    for path in PUBLIC:
        lines = path.read_text().splitlines()
        for node in parse(path).get_descendants((vyper_ast.Assert, vyper_ast.Raise)):
            said = node.msg if isinstance(node, vyper_ast.Assert) else node.exc
            reason = said.value if isinstance(said, vyper_ast.Str) else None
            text = "\n".join(lines[node.lineno - 1 : node.end_lineno])
            guards.append((f"{name_of(path)}:{node.lineno}", reason, text))
    return guards


@pytest.fixture(scope="module")
def guards():
    found = list_guards()
    assert len(found) > 150
    return found


@pytest.fixture(scope="module")
def reasons(guards):
    return {reason for _, reason, _ in guards if reason is not None}


def test_every_guard_has_a_reason_or_says_why_it_cannot_be_met(guards):
    assert [where for where, reason, text in guards if reason is None and "# dev: " not in text] == []


def test_every_reason_is_known_to_agents_or_cannot_be_theirs(reasons):
    known = {reason for reason in reasons if reason in REVERTS or reason.startswith(ATTESTATION)}
    declared = {reason for reason in reasons if reason in UNMET or reason.startswith(tuple(UNMET_PREFIXES))}
    assert sorted(reasons - known - declared) == []
    assert sorted(known & declared) == []


def test_nothing_is_registered_or_declared_that_no_contract_says(reasons):
    assert sorted((REVERTS.keys() | UNMET.keys()) - reasons) == []
    for prefix in UNMET_PREFIXES:
        assert any(reason.startswith(prefix) for reason in reasons), prefix


def test_a_reason_fits_what_the_gate_keeps_of_a_failure(reasons):
    selector_offset_and_length, kept = 4 + 32 + 32, 256
    for reason in reasons:
        assert selector_offset_and_length + len(reason.encode()) <= kept, reason


def test_reasons_of_the_attestation_verifier_lead_to_another_proof(reasons):
    for reason in reasons:
        if reason.startswith(ATTESTATION):
            assert classify_revert(reason).branch == "reprove"
