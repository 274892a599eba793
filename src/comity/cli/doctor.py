"""`comity doctor`: everything a deployment needs, checked from here, with the next command for what is wrong."""

import asyncio
import platform
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from comity.cli.output import ConfigFlag, JsonFlag, emit_error, emit_json, emit_table
from comity.core.errors import ComityError, ConfigError, Unavailable

if TYPE_CHECKING:
    from comity.config import LoadedConfig
    from comity.sdk.client import Chain, Client

_LOW_BALANCE = 10**16
Row = dict[str, Any]


def doctor(*, config: ConfigFlag = None, json: JsonFlag = False) -> None:
    """Check versions, keys, providers, contracts, balances and attestors."""
    from comity.config import load_config

    rows = list(check_tools())
    problem: ComityError | None = None
    try:
        loaded = load_config(Path(config) if config else None)
        rows += asyncio.run(inspect(loaded))["checks"]
    except ComityError as error:
        problem = error
        rows.append(_row("configuration", False, str(error), error.next_step))
    if json:
        emit_json({"ok": all(row["ok"] for row in rows), "checks": rows})
    else:
        emit_table("", ("check", "ok", "found"), [[row["check"], row["ok"], row["found"]] for row in rows])
    failed = [row for row in rows if not row["ok"]]
    if problem is not None and not json:
        emit_error(problem, as_json=False)
    if failed:
        kind = ConfigError if problem is not None else Unavailable
        raise SystemExit(_report(kind, failed, json))


def check_tools() -> Iterator[Row]:
    """What is installed here."""
    from comity.devnet.anvil import find_anvil

    yield _row("python", True, platform.python_version())
    for package in ("comity", "vyper"):
        try:
            yield _row(package, True, version(package))
        except PackageNotFoundError:
            yield _row(package, False, "not installed", "pip install comity")
    try:
        done = subprocess.run([str(find_anvil()), "--version"], capture_output=True, text=True, check=True, timeout=10)
        yield _row("anvil", True, done.stdout.splitlines()[0])
    except (ConfigError, OSError, subprocess.SubprocessError) as error:
        yield _row("anvil", False, str(error), getattr(error, "next_step", None))


async def inspect(loaded: "LoadedConfig") -> dict[str, Any]:
    """Check the keys, and every chain and attestor of a configuration."""
    from comity.sdk.client import Client

    rows = [_row("configuration", True, str(loaded.path)), *_check_keys(loaded)]
    async with Client(loaded.config) as client:
        accounts = _list_accounts(loaded)
        for found in await asyncio.gather(*(_check_chain(accounts, chain) for chain in client.chains.values())):
            rows += found
        rows += await _check_attestors(client)
    return {"checks": rows}


def _check_keys(loaded: "LoadedConfig") -> Iterator[Row]:
    from comity.sdk.keys import read_private

    config = loaded.config
    named = {"key": config.key, "owner.key": config.owner.key, "relay.key": config.relay.key}
    named["attest.key"] = config.attest.key
    for name, key in named.items():
        if not key:
            continue
        try:
            read_private(loaded.resolve(key))
            yield _row(name, True, key)
        except ConfigError as error:
            yield _row(name, False, str(error), error.next_step)


async def _check_chain(accounts: dict[str, Any], chain: "Chain") -> list[Row]:
    from comity.chain.rpc import RpcError

    name = f"{chain.name} ({chain.config.chain})"
    checks: dict[str, Callable[[], Awaitable[tuple[bool, str]]]] = {
        "providers": lambda: _check_providers(chain),
        "contracts": lambda: _check_contracts(chain),
        "balances": lambda: _check_balances(accounts, chain),
    }
    rows = []
    for what, check in checks.items():
        try:
            is_well, found = await check()
            rows.append(_row(f"{name} {what}", is_well, found, None if is_well else _NEXT[what]))
        except (ComityError, RpcError) as error:
            rows.append(_row(f"{name} {what}", False, str(error), error.next_step or _NEXT[what]))
    return rows


_NEXT = {
    "providers": "correct chains.<name>.rpc and chains.<name>.chain",
    "contracts": "comity deploy --plan",
    "balances": "fund the accounts",
}


async def _check_providers(chain: "Chain") -> tuple[bool, str]:
    ids = await asyncio.gather(*(rpc.chain_id() for rpc in chain.quorum.providers), return_exceptions=True)
    wrong = [
        f"{rpc.host}: {found}"
        for rpc, found in zip(chain.quorum.providers, ids, strict=True)
        if found != chain.config.id
    ]
    if wrong:
        return False, "; ".join(wrong)
    head = await chain.quorum.agreed_head()
    return True, f"{len(ids)} of {len(ids)} agree on block {head.number}"


async def _check_contracts(chain: "Chain") -> tuple[bool, str]:
    config = chain.config
    addresses = {"Router": config.router_address, "Gate": config.gate_address, "Authority": config.authority_address}
    addresses |= {f"verifier {index}": address for index, address in enumerate(config.verifier_addresses)}
    absent = [
        name
        for name, address in addresses.items()
        if await chain.quorum.agree("eth_getCode", address, "latest") == "0x"
    ]
    return not absent, f"no code: {', '.join(absent)}" if absent else f"{len(addresses)} have code"


async def _check_balances(accounts: dict[str, Any], chain: "Chain") -> tuple[bool, str]:
    balances = {role: int(await chain.quorum.agree("eth_getBalance", a, "latest"), 16) for role, a in accounts.items()}
    found = ", ".join(f"{role} {balance / 10**18:.4f}" for role, balance in balances.items())
    return all(balance >= _LOW_BALANCE for balance in balances.values()), found or "no readable key"


def _list_accounts(loaded: "LoadedConfig") -> dict[str, Any]:
    """The accounts that pay for gas; those behind a password are not asked for."""
    from comity.sdk.keys import load_signer, read_private

    accounts = {}
    for role, key in {"sender": loaded.config.key, "relayer": loaded.config.relay.key}.items():
        try:
            if key and not read_private(loaded.resolve(key)).lstrip().startswith(b"{"):
                accounts[role] = load_signer(loaded.resolve(key)).address
        except ConfigError:
            continue
    return accounts


async def _check_attestors(client: "Client") -> list[Row]:
    import aiohttp

    rows: list[Row] = []
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session:
        for name, config in client.config.sets.items():
            for url in config.attestors:
                try:
                    async with session.get(f"{url}/v1/health", allow_redirects=False) as response:
                        health = await response.json()
                    found = f"{health['status']}, signer {health['signer']}"
                    rows.append(_row(f"attestor {name} {url}", health["status"] == "ok", found, "comity attest run"))
                except (aiohttp.ClientError, TimeoutError, ValueError, KeyError):
                    found = "standing by" if config.standby else "does not answer"
                    rows.append(_row(f"attestor {name} {url}", config.standby, found, "comity attest run"))
    return rows


def _row(check: str, is_well: bool, found: str, next_step: str | None = None) -> Row:
    return {"check": check, "ok": is_well, "found": found, "next_step": None if is_well else next_step}


def _report(kind: type[ComityError], failed: list[Row], json: bool) -> int:
    if not json:
        import sys

        for row in failed:
            if row["next_step"]:
                sys.stderr.write(f"{row['check']}: next: {row['next_step']}\n")
    return kind.exit_code
