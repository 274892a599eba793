"""What no file of the project may contain, and how long a file may be."""

import hashlib
import re

import pytest

from tests.static.repository import ROOT, list_files, name_of

MAX_LINES = 400
LONGER = {
    "src/comity/contracts/Gate.vy": "one contract, whose hot path reads best in one piece; modules cost gas there",
    "src/comity/contracts/Router.vy": "one contract with two doors to one lane, which share their checks",
    "src/comity/core/envelope.py": "one format: its errors, fields and rules are read side by side",
    "src/comity/sdk/client.py": "one class: sending, finding and waiting share their ends and their errors",
    "tests/integration/chain/test_follower.py": "one component's faults, over one model of a chain",
    "tests/integration/chain/test_submitter.py": "the same",
    "tests/unit/agents/attestor/test_attestor_faults.py": "the same",
}

MACHINE_PATH = re.compile(r"(?:(?<=://)|(?<![\w.~*$})/-]))/(?:work|root|home|opt|mnt|srv|Users)/\w")
OUTSIDE = re.compile(r"\.\./shared\b|(?<!\w)\.(?:library|mirror)/")
"""Folders that stood beside the project where it was written."""
REGISTRY = re.compile(
    r"\b[\w-]*(?:registry|pypi|pythonhosted|npmjs|artifactory|nexus)[\w.-]*\.(?:org|com|io|net|dev)\b"
)
URL = re.compile(r"\b(?:https?|wss?)://([^\s/:\"'<>)\]}{`,?#]+)")
PUBLIC_HOSTS = {
    "docs.soliditylang.org": "the source of a table",
    "docs.vyperlang.org": "the compiler's manual",
    "eips.ethereum.org": "standards",
    "ercs.ethereum.org": "standards",
    "github.com": "where a dependency names its sponsors",
    "json-schema.org": "the identifier of a schema language",
    "www.textualize.io": "where a picture names the program that drew it",
    "www.w3.org": "the identifier of a file format",
}

# SHA-256 of words, in lower case, that name writing tools: listed so, because this file too may not contain them.
FORBIDDEN_WORDS = {
    "c857d09db23e6822e3600bc06ad8d58f92ed62bc8efd81c753f77048662cb97d",
    "c70eca6b0f88f44d81a41311647e50fda1ac454ec04ffd442b0eb4743a993131",
    "7d3194f79e645c42e4396dda38be04766810ec6a00d00aced3ffc2a0a1f1a9ef",
    "60965168ce762e949600281ba6d01fee136e5b6e8257b1f216f9025ed324474c",
    "3ea125d0bff386e6754b3782b300016fc79a9cf8f8669c0a5c3db64467ddb681",
    "57de4cf40144bdf7d00010f2f5557a7d642c2b9705309bfade167dd313e2ca93",
    "487b91042c7cf27a19e23ea8699f5f354b1a0c3af9e418138dc6150d830f970d",
}


@pytest.fixture(scope="module")
def texts():
    found = {}
    for path in list_files():
        try:
            found[name_of(path)] = path.read_text()
        except UnicodeDecodeError as error:
            raise AssertionError(f"{name_of(path)} is not text") from error
    assert len(found) > 100
    return found


def find(pattern, texts):
    """Where a pattern occurs, as file:line and what was found."""
    found = []
    for name, text in texts.items():
        for match in pattern.finditer(text):
            found.append(f"{name}:{text.count(chr(10), 0, match.start()) + 1} {match[0]}")
    return found


def is_reserved(host):
    """Whether a host is nobody's: this machine, a name without a dot, or one that RFC 2606 keeps for examples."""
    host = host.rpartition("@")[2]
    return (
        host.startswith("127.") or "." not in host or host.endswith((".example", ".example.com", ".invalid", ".test"))
    )


def test_no_file_names_a_machine(texts):
    assert find(MACHINE_PATH, texts) == []
    assert find(OUTSIDE, texts) == []


def test_no_file_names_a_registry(texts):
    assert find(REGISTRY, texts) == []


def test_every_address_on_the_network_is_a_public_reference_or_an_example(texts):
    hosts = {(name, match[1]) for name, text in texts.items() for match in URL.finditer(text)}
    assert sorted(one for one in hosts if not is_reserved(one[1]) and one[1] not in PUBLIC_HOSTS) == []


def test_no_file_names_the_tools_it_was_written_with(texts):
    words = {(name, word) for name, text in texts.items() for word in set(re.findall("[a-z]+", text.lower()))}
    digests = {word: hashlib.sha256(word.encode()).hexdigest() for word in {word for _, word in words}}
    assert sorted(name for name, word in words if digests[word] in FORBIDDEN_WORDS) == []


def test_patterns_find_what_they_are_for():
    for folder in ("home", "root", "work", "opt"):
        path = "/".join(("", folder, "x"))
        for text in (path, f'"{path}"', f"in {path}", f"({path})", f"file://{path}"):
            assert MACHINE_PATH.search(text), text
        for text in (f"src{path}", f".{path}", f"~{path}", f"$(VENV){path}", f"/{folder}"):
            assert not MACHINE_PATH.search(text), text
    assert OUTSIDE.search("/".join(("..", "shared", "x")))
    assert REGISTRY.search("https://" + ".".join(("registry", "npmjs", "org")))
    assert not REGISTRY.search("metrics.registry.get_sample_value")
    assert not is_reserved(".".join(("node", "provider", "com")))


def test_files_are_short_or_long_for_a_reason(texts):
    lengths = {name: len(text.splitlines()) for name, text in texts.items() if name.endswith((".py", ".vy"))}
    assert {name: lines for name, lines in lengths.items() if lines > MAX_LINES and name not in LONGER} == {}
    assert [name for name in LONGER if lengths.get(name, 0) <= MAX_LINES] == [], "no longer long"
    assert (ROOT / "src").is_dir()
