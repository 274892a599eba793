"""What no tracked file may contain: paths of a machine, hosts of a registry, unfinished work."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Put together, so that this file passes its own test.
MACHINE_PATHS = ("/ro" + "ot/", "/ho" + "me/", "/Us" + "ers/", "/wo" + "rk/", "../sh" + "ared")
REGISTRIES = (
    "py" + "pi.org",
    "python" + "hosted.org",
    "registry." + "npmjs",
    "registry." + "yarnpkg",
    "npm" + "mirror",
)
UNFINISHED = ("TO" + "DO", "FIX" + "ME", "XX" + "X")
LOCKS = ("requirements.lock", "package-lock.json")


def list_tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    return [ROOT / name for name in listed.decode().split("\0") if name and (ROOT / name).is_file()]


def find_lines(words: tuple[str, ...]) -> list[str]:
    found = []
    for path in list_tracked():
        text = path.read_bytes().decode(errors="replace")
        if any(word in text for word in words):
            lines = enumerate(text.splitlines(), 1)
            found += [f"{path.relative_to(ROOT)}:{n}" for n, line in lines if any(word in line for word in words)]
    return found


@pytest.mark.parametrize("words", [MACHINE_PATHS, REGISTRIES, UNFINISHED], ids=["path", "registry", "unfinished"])
def test_no_tracked_file_contains(words: tuple[str, ...]) -> None:
    assert find_lines(words) == []


@pytest.mark.parametrize("name", LOCKS)
def test_lock_files_pin_by_hash_and_name_no_host(name: str) -> None:
    text = (ROOT / name).read_text()
    assert not re.search(r'"resolved"|index-url|find-links|trusted-host', text)
    assert re.search(r"sha256:[0-9a-f]{64}|sha512-", text)


def test_every_pinned_python_package_has_a_hash() -> None:
    pins = re.split(r"\n(?=\S)", (ROOT / "requirements.lock").read_text())
    assert [pin.split()[0] for pin in pins if "==" in pin and "--hash=sha256:" not in pin] == []
