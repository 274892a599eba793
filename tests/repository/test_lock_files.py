"""The lock files pin what is installed by hash, and nothing else: docs/adr/0007-lock-files-without-hosts.md."""

import json
import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_python_package_is_pinned_with_its_hashes() -> None:
    pins = re.split(r"\n(?=\S)", (ROOT / "requirements.lock").read_text().strip())
    assert len(pins) > 20
    pattern = re.compile(r"[\w.-]+==[\w.+-]+(?: ; [^\\]+?)?(?: \\\n    --hash=sha256:[0-9a-f]{64})+")
    assert [pin.split("\n")[0] for pin in pins if not pin.startswith("#") and not pattern.fullmatch(pin)] == []


def test_every_node_package_is_pinned_with_its_hash_and_no_place() -> None:
    packages = json.loads((ROOT / "package-lock.json").read_text())["packages"]
    installed = {name: package for name, package in packages.items() if name}
    assert installed
    assert [name for name, package in installed.items() if not package.get("integrity", "").startswith("sha512-")] == []
    assert [name for name, package in installed.items() if "resolved" in package] == []


def test_what_is_declared_is_locked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = {
        re.split("[<>=]", name)[0] for name in project["dependencies"] + project["optional-dependencies"]["dev"]
    }
    locked = set(re.findall(r"^([\w.-]+)==", (ROOT / "requirements.lock").read_text(), re.MULTILINE))
    assert {"aiohttp", "pytest"} <= declared
    assert sorted(declared - locked) == []
