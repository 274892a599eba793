"""Keys of the command line: read from a file that nobody else can read, never from a flag or the configuration.

A file holds a version 3 keystore, whose password is asked for on the terminal or read from COMITY_PASSWORD_FILE; or the
key itself in hex, as development chains use.
"""

import getpass
import os
import stat
import sys
from pathlib import Path

from comity.chain.signer import LocalSigner, load_keystore
from comity.core.errors import ConfigError


def load_signer(path: Path) -> LocalSigner:
    """Load the signer of a key file. Raises: ConfigError."""
    content = read_private(path)
    if content.lstrip().startswith(b"{"):
        return load_keystore(path, _read_password(path))
    try:
        return LocalSigner(bytes.fromhex(content.decode().strip().removeprefix("0x")))
    except (ValueError, UnicodeDecodeError):
        raise ConfigError("a key file holds a version 3 keystore, or a key in hex", path=str(path)) from None


def save_key(path: Path, private_key: bytes) -> None:
    """Write a key in hex, readable by its owner only."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        os.fchmod(descriptor, 0o600)
        file.write("0x" + private_key.hex() + "\n")


def read_private(path: Path) -> bytes:
    """Read a file that only its owner may read. Raises: ConfigError."""
    try:
        mode = path.stat().st_mode
        content = path.read_bytes()
    except OSError as error:
        step = "correct the path, or put the key there and: chmod 600"
        raise ConfigError("cannot open the key file", path=str(path), why=error.strerror, next_step=step) from None
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ConfigError("others can read the key file", path=str(path), next_step=f"chmod 600 {path}")
    return content


def _read_password(path: Path) -> str:
    named = os.environ.get("COMITY_PASSWORD_FILE")
    if named:
        return read_private(Path(named)).decode().rstrip("\n")
    if not sys.stdin.isatty():
        raise ConfigError("the keystore has a password", path=str(path), next_step="set COMITY_PASSWORD_FILE")
    return getpass.getpass(f"Password of {path.name}: ")
