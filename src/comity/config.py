"""One comity.toml: chains, the verifiers at their Gates, attestation sets, and what this machine's agents may use.

A value is looked for in the flags, then COMITY_… variables, then the project's comity.toml, then the one in the XDG
configuration folder, then the default. An unknown key is an error. Keys are named by file, never written here, and a
provider's URL with a token belongs in the environment (`COMITY_CHAINS__ALPHA__RPC='["https://…"]'`).
"""

import os
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

from comity.core.attestation import AttestationSet
from comity.core.delivery import MAX_PART_BYTES
from comity.core.errors import ConfigError, Invalid
from comity.core.finality import FinalityRule
from comity.core.interop_address import chain_id_from_caip2
from comity.core.types import Address, ChainId

FILE_NAME = "comity.toml"
DEVNET_FILE = f".comity/dev/{FILE_NAME}"
"""Where `comity dev up` leaves the configuration of the devnet that it runs."""

_PREFIX = "COMITY_"
_NOT_SETTINGS = frozenset({"COMITY_CONFIG", "COMITY_CACHE", "COMITY_ANVIL", "COMITY_FAILPOINT", "COMITY_PASSWORD_FILE"})


class _Table(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """A table of the file; an unknown key in it is an error."""


class SetConfig(_Table, frozen=True):
    """An attestation set: the same members stand behind an Attestation verifier on every chain that names it."""

    members: list[str]
    threshold: int
    finality: str = "finalized"
    epoch: int = 1
    attestors: list[str] = []
    """URLs that serve the members' signatures; where there is one for each, in the order of `members`."""
    standby: bool = False
    """Its attestors need not run yet: no fault when they do not answer."""

    @property
    def addresses(self) -> tuple[Address, ...]:
        """The members, ascending."""
        return tuple(sorted(parse_address(member, "members") for member in self.members))

    @property
    def attestation_set(self) -> AttestationSet:
        """The set as the verifier hashes it."""
        return AttestationSet(self.epoch, self.threshold, self.rule.code, self.addresses)

    def find_url(self, member: Address) -> str | None:
        """Return where a member serves its signatures, if the configuration says so for each."""
        if len(self.attestors) != len(self.members):
            return None
        urls = zip(self.members, self.attestors, strict=True)
        return next((url for text, url in urls if parse_address(text, "members") == member), None)

    @property
    def rule(self) -> FinalityRule:
        """When a block counts as final for this set."""
        return FinalityRule.parse(self.finality)


class VerifierConfig(_Table, frozen=True):
    """One verifier of a Gate; its index is its place in the list."""

    set: str
    kind: Literal["attestation"] = "attestation"
    address: str = ""
    """Written by `comity deploy --apply`."""


class ChainConfig(_Table, frozen=True):
    """One chain, as a row of configuration."""

    chain: str
    """CAIP-2, such as eip155:1."""
    rpc: list[str]
    """Providers that do not share an operator."""
    agree: int = 0
    """How many providers must agree; 0 means more than half."""
    router: str = ""
    gate: str = ""
    authority: str = ""
    start_block: int = 0
    """No event of this deployment is older."""
    finality: str = "finalized"
    """What this machine calls final when it follows the chain."""
    block_seconds: float = 12.0
    """How often to expect a block."""
    verifiers: list[VerifierConfig] = []

    @property
    def id(self) -> ChainId:
        """The EIP-155 id."""
        return _parse_chain(self.chain)

    @property
    def quorum(self) -> int:
        """Providers that must agree."""
        return self.agree or len(self.rpc) // 2 + 1

    @property
    def router_address(self) -> Address:
        """The Router. Raises: ConfigError when it is not deployed."""
        return self._deployed("router", self.router)

    @property
    def gate_address(self) -> Address:
        """The Gate. Raises: ConfigError when it is not deployed."""
        return self._deployed("gate", self.gate)

    @property
    def authority_address(self) -> Address:
        """The Authority. Raises: ConfigError when it is not deployed."""
        return self._deployed("authority", self.authority)

    @property
    def verifier_addresses(self) -> tuple[Address, ...]:
        """The verifiers, by index. Raises: ConfigError when one is not deployed."""
        return tuple(self.get_verifier(index) for index in range(len(self.verifiers)))

    def get_verifier(self, index: int) -> Address:
        """One verifier. Raises: ConfigError when it is not deployed."""
        return self._deployed(f"verifier {index}", self.verifiers[index].address)

    @property
    def is_deployed(self) -> bool:
        """Whether the contracts' addresses are known."""
        return bool(self.router and self.gate and self.authority)

    def _deployed(self, key: str, value: str) -> Address:
        if not value:
            raise ConfigError(f"{self.chain} has no {key}", next_step="comity deploy --plan")
        return parse_address(value, key)


class AttestConfig(_Table, frozen=True):
    """This machine's attestor."""

    key: str = ""
    """File of its key: hex, or a keystore v3."""
    listen: str = ""
    """Where to serve, host:port; empty: the loopback port that its set names for it, else 127.0.0.1:8547."""


class RelayConfig(_Table, frozen=True):
    """This machine's relayer."""

    key: str = ""
    expire: bool = True
    """Give envelopes past their deadline their receipt; it earns a part of the fee when it settles."""


class OwnerConfig(_Table, frozen=True):
    """Who deploys and owns the contracts."""

    key: str = ""
    delay: int = 172_800
    """Seconds between an owner's announcement and its act; 0 only on development chains."""


class Config(_Table, frozen=True):
    """The whole file."""

    chains: dict[str, ChainConfig]
    sets: dict[str, SetConfig] = {}
    lanes: list[tuple[str, str]] = []
    """Pairs (origin, destination); none written means every ordered pair."""
    development: bool = False
    """Deploy contracts that accept a zero delay and a 1-of-1 set: never for value."""
    data: str = ".comity"
    """Folder for stores; relative to this file."""
    key: str = ""
    """File of the key that `send`, `policy set` and `expire` sign with."""
    owner: OwnerConfig = msgspec.field(default_factory=OwnerConfig)
    attest: AttestConfig = msgspec.field(default_factory=AttestConfig)
    relay: RelayConfig = msgspec.field(default_factory=RelayConfig)

    def find_chain(self, text: str) -> tuple[str, ChainConfig]:
        """Return a chain by its name here, its CAIP-2 id or its number. Raises: ConfigError."""
        for name, chain in self.chains.items():
            if text in (name, chain.chain, str(chain.id)):
                return name, chain
        raise ConfigError(f"no chain {text}", next_step=f"one of: {', '.join(self.chains)}", chain=text)

    def list_lanes(self) -> list[tuple[str, str]]:
        """Return the pairs of chain names between which there is a lane."""
        if self.lanes:
            return self.lanes
        return [(origin, target) for origin in self.chains for target in self.chains if origin != target]

    def list_sets(self, chain: ChainConfig) -> list[SetConfig]:
        """Return a chain's attestation sets in the order of its Gate's verifiers."""
        return [self.sets[verifier.set] for verifier in chain.verifiers]


class LoadedConfig(msgspec.Struct, frozen=True):
    """A configuration and where it stands."""

    config: Config
    path: Path

    def resolve(self, relative: str) -> Path:
        """Return a path written in the file, which is relative to the file."""
        return (self.path.parent / Path(relative).expanduser()).resolve()

    def resolve_key(self, key: str, name: str) -> Path:
        """Return a key's file. Raises: ConfigError when none is named."""
        if not key:
            raise ConfigError(f"no key: set `{name}` in {FILE_NAME} to the key's file", key=name)
        return self.resolve(key)

    def reload(self) -> "LoadedConfig":
        """Read the same file again."""
        return load_config(self.path)

    @property
    def data(self) -> Path:
        """The folder for stores."""
        return self.resolve(self.config.data)


def find_config(flag: Path | None = None) -> Path:
    """Return the file to read: the flag's, COMITY_CONFIG's, the nearest one here or above, a devnet's, the XDG one.

    Raises: ConfigError.
    """
    named = flag or (Path(os.environ["COMITY_CONFIG"]) if os.environ.get("COMITY_CONFIG") else None)
    if named is not None:
        if not named.is_file():
            raise ConfigError(f"{named} does not exist", next_step="comity dev up --help", path=str(named))
        return named.resolve()
    for name in (FILE_NAME, DEVNET_FILE):
        for folder in (Path.cwd(), *Path.cwd().parents):
            if (folder / name).is_file():
                return folder / name
    if _xdg_path().is_file():
        return _xdg_path()
    raise ConfigError(f"no {FILE_NAME} here or above", next_step="comity dev up")


def load_config(flag: Path | None = None, overrides: Mapping[str, Any] | None = None) -> LoadedConfig:
    """Read, merge and check the configuration. Raises: ConfigError."""
    path = find_config(flag)
    layers = [_read(_xdg_path())] if _xdg_path().is_file() and _xdg_path() != path else []
    layers += [_read(path), _read_environment(os.environ), dict(overrides or {})]
    merged: dict[str, Any] = {}
    for layer in layers:
        merged = _merge(merged, layer)
    return LoadedConfig(decode_config(merged, path), path)


def decode_config(tables: Mapping[str, Any], path: Path) -> Config:
    """Check the tables of a configuration. Raises: ConfigError."""
    try:
        config = msgspec.convert(tables, Config)
    except msgspec.ValidationError as error:
        said = str(error).replace("Object contains unknown field", "unknown key")
        step = f"correct it in {path}, or in the COMITY_… variable that says so"
        raise ConfigError(f"{path.name}: {said}", next_step=step) from None
    try:
        for problem in _find_problems(config):
            raise ConfigError(f"{path.name}: {problem}", next_step=f"correct it in {path}")
    except Invalid as error:
        raise ConfigError(f"{path.name}: {error}", next_step=f"correct it in {path}") from None
    return config


def parse_address(text: str, key: str) -> Address:
    """Read a 20-byte address. Raises: ConfigError."""
    try:
        raw = bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        raw = b""
    if len(raw) != 20 or not text.startswith("0x"):
        raise ConfigError(f"{key}: an address is 0x and 40 hexadecimal digits", written=text)
    return Address(raw)


def format_toml(tables: Mapping[str, Any]) -> str:
    """Write nested tables as TOML: scalars first, then tables, then arrays of tables."""
    return "\n".join(_format_table(tables, ())).strip() + "\n"


def _parse_chain(caip2: str) -> ChainId:
    if not caip2.startswith("eip155:"):
        raise ConfigError("a chain is written eip155:<number>", chain=caip2)
    return chain_id_from_caip2(caip2)


def _find_problems(config: Config) -> Iterator[str]:
    if not config.chains:
        yield "at least one [chains.<name>] is needed"
    for name, chain in config.chains.items():
        _ = chain.id
        FinalityRule.parse(chain.finality)
        if not chain.rpc:
            yield f"chains.{name}.rpc is empty"
        if not 0 <= chain.agree <= len(chain.rpc):
            yield f"chains.{name}.agree = {chain.agree}, but there are {len(chain.rpc)} providers"
        for verifier in chain.verifiers:
            if verifier.set not in config.sets:
                yield f"chains.{name}.verifiers names the set {verifier.set!r}, which is not under [sets]"
    for name, attestation_set in config.sets.items():
        _ = attestation_set.rule
        if not 1 <= attestation_set.threshold <= len(attestation_set.addresses):
            yield f"sets.{name}.threshold = {attestation_set.threshold} of {len(attestation_set.members)} members"
        elif (size := attestation_set.attestation_set.proof_bytes) > MAX_PART_BYTES:
            yield f"sets.{name}.threshold asks for proofs of {size} bytes, and a Gate takes {MAX_PART_BYTES}"
        if attestation_set.threshold == 1 and not config.development:
            yield f"sets.{name}: one signer is not a quorum"
    for pair in config.lanes:
        for end in pair:
            if end not in config.chains:
                yield f"lanes names the chain {end!r}, which is not under [chains]"
    if config.owner.delay == 0 and not config.development:
        yield "owner.delay = 0 needs development = true"


def _xdg_path() -> Path:
    folder = os.environ.get("XDG_CONFIG_HOME")
    return (Path(folder) if folder else Path.home() / ".config") / "comity" / FILE_NAME


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}", next_step=f"correct {path}") from None


def _read_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    """Read COMITY_A__B=value as a.b; the value is TOML where it parses as such, else a string."""
    tables: dict[str, Any] = {}
    for name, value in environment.items():
        if not name.startswith(_PREFIX) or name in _NOT_SETTINGS:
            continue
        *parents, key = name.removeprefix(_PREFIX).lower().split("__")
        table = tables
        for parent in parents:
            table = table.setdefault(parent, {})
        try:
            table[key] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            table[key] = value
    return tables


def _merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = _merge(merged[key], value) if both else value
    return merged


def _format_table(table: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[str]:
    for key, value in table.items():
        if not isinstance(value, Mapping) and not _is_array_of_tables(value):
            yield f"{key} = {_format_value(value)}"
    for key, value in table.items():
        if isinstance(value, Mapping):
            if not all(isinstance(inner, Mapping) for inner in value.values()):
                yield f"\n[{'.'.join((*path, key))}]"
            yield from _format_table(value, (*path, key))
        elif _is_array_of_tables(value):
            for row in value:
                yield f"\n[[{'.'.join((*path, key))}]]"
                yield from _format_table(row, (*path, key))


def _is_array_of_tables(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(row, Mapping) for row in value)


def _format_value(value: Any) -> str:
    return msgspec.json.encode(value).decode()
