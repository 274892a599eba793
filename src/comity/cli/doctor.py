"""`comity doctor`: everything a deployment needs, checked from here, with the next command for what is wrong."""

import asyncio
import platform
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from comity.cli.output import ConfigFlag, JsonFlag, build_table, complete_step, emit, emit_json, quiet_logs
from comity.core.errors import ComityError, ConfigError, Unavailable

if TYPE_CHECKING:
    from comity.config import LoadedConfig
    from comity.core.types import Address
    from comity.sdk.client import Chain, Client

_LOW_BALANCE = 10**16
Row = dict[str, Any]


def doctor(*, config: ConfigFlag = None, json: JsonFlag = False) -> None:
    """Check tools, keys, providers, contracts, balances, attestors.

    Exit code 0 when all is well, 3 when the configuration or a key is wrong, 4 when something does not answer.
    """
    from comity.config import load_config

    quiet_logs()
    rows = list(check_tools())
    try:
        loaded = load_config(Path(config) if config else None)
    except ConfigError as error:
        rows.append(_row("configuration", False, str(error), error.next_step))
    else:
        rows += asyncio.run(inspect(loaded))
    if json:
        emit_json({"ok": all(row["ok"] for row in rows), "checks": rows})
    else:
        print_checks(rows)
    failed = {row["check"] for row in rows if not row["ok"]}
    if failed:
        is_local = any(name == "configuration" or name.endswith("key") for name in failed)
        raise typer.Exit(ConfigError.exit_code if is_local else Unavailable.exit_code)


def print_checks(rows: list[Row]) -> None:
    """Print what was checked, and below what is wrong the next command."""
    from rich.text import Text

    table = build_table("")
    table.show_header = False
    table.box = None
    for row in rows:
        mark = Text("✓", "green") if row["ok"] else Text("✗", "bold red")
        found = Text(row["found"], "" if row["ok"] else "red")
        if row["next_step"]:
            found.append(f"\n→ {row['next_step']}", "bold default")
        table.add_row(mark, row["check"], found)
    emit(table)


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
        yield _row("anvil", True, done.stdout.splitlines()[0].removeprefix("anvil Version: "))
    except (ConfigError, OSError, subprocess.SubprocessError) as error:
        yield _row("anvil", False, str(error), getattr(error, "next_step", None) or "make setup")


async def inspect(loaded: "LoadedConfig") -> list[Row]:
    """Check the keys, and every chain and attestor of a configuration."""
    from comity.sdk.client import Client

    rows = [_row("configuration", True, str(loaded.path)), *_check_keys(loaded)]
    async with Client(loaded.config) as client:
        accounts = _list_accounts(loaded)
        found = await asyncio.gather(*(_check_chain(loaded, accounts, chain) for chain in client.chains.values()))
        rows += [row for chain_rows in found for row in chain_rows]
        if all(row["ok"] for chain_rows in found for row in chain_rows[:1]):
            rows.append(await _check_deployment(loaded, client))
        rows += await _check_attestors(loaded)
    return rows


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


async def _check_chain(loaded: "LoadedConfig", accounts: "dict[str, Address]", chain: "Chain") -> list[Row]:
    """The first row is the providers'; without them nothing else can be looked at."""
    name = f"{chain.name} ({chain.config.chain})"
    providers = await _check_providers(loaded, chain, name)
    if not providers["ok"]:
        return [providers]
    rows = [providers]
    for what, check in (("contracts", _check_contracts(chain)), ("balances", _check_balances(accounts, chain))):
        try:
            wrong, found, step = await check
            rows.append(_row(f"{name} {what}", not wrong, found, step))
        except ComityError as error:
            rows.append(_row(f"{name} {what}", False, str(error), error.next_step))
    return rows


async def _check_providers(loaded: "LoadedConfig", chain: "Chain", name: str) -> Row:
    from comity.core.finality import FinalityRule

    check = f"{name} providers"
    config, quorum = chain.config, chain.quorum
    ids = await asyncio.gather(*(rpc.chain_id() for rpc in quorum.providers), return_exceptions=True)
    asked = list(zip(quorum.providers, ids, strict=True))
    others = [f"{rpc.host} is eip155:{found}" for rpc, found in asked if isinstance(found, int) and found != config.id]
    silent = [rpc.host for rpc, found in asked if isinstance(found, BaseException)]
    if others:
        step = f"correct chains.{chain.name}.rpc or chains.{chain.name}.chain in {loaded.path}"
        return _row(check, False, f"another chain: {', '.join(others)}", step)
    if silent:
        found = f"{len(silent)} of {len(ids)} do not answer: {', '.join(silent)}"
        step = f"start them, or correct chains.{chain.name}.rpc in {loaded.path}"
        return _row(check, False, found, "comity dev up" if _is_dead_devnet(loaded) else step)
    try:
        head = (await quorum.agreed_head()).number
        final = await quorum.agreed_finalized(FinalityRule.parse(config.finality))
    except ComityError as error:
        return _row(check, False, str(error), error.next_step or "comity doctor")
    return _row(check, True, f"{len(ids)} of {len(ids)} agree: block {head}, final {final}")


def _is_dead_devnet(loaded: "LoadedConfig") -> bool:
    from comity.cli.dev import load_state
    from comity.config import DEVNET_FILE

    return str(loaded.path).endswith(DEVNET_FILE) and load_state() is None


Finding = tuple[bool, str, str | None]
"""Whether it is wrong, what was found, and the next step."""


async def _check_contracts(chain: "Chain") -> Finding:
    config = chain.config
    addresses = {"Router": config.router_address, "Gate": config.gate_address, "Authority": config.authority_address}
    # One that is not deployed yet is the deployment's business.
    deployed = [index for index, verifier in enumerate(config.verifiers) if verifier.address]
    addresses |= {f"verifier {index}": config.get_verifier(index) for index in deployed}
    absent = [
        f"{name} 0x{address.hex()}"
        for name, address in addresses.items()
        if await chain.quorum.agree("eth_getCode", address, "latest") == "0x"
    ]
    if absent:
        return True, f"no code at {', '.join(absent)}", "comity deploy --plan"
    return False, f"{len(addresses)} have code", None


async def _check_balances(accounts: "dict[str, Address]", chain: "Chain") -> Finding:
    balances = {role: int(await chain.quorum.agree("eth_getBalance", a, "latest"), 16) for role, a in accounts.items()}
    found = ", ".join(f"{role} {balance / 10**18:.4f}" for role, balance in balances.items())
    poor = [f"the {role} 0x{accounts[role].hex()}" for role, balance in balances.items() if balance < _LOW_BALANCE]
    step = f"send {' and '.join(poor)} coins of {chain.config.chain}" if poor else None
    return bool(poor), found or "no key that can be read without a password", step


def _list_accounts(loaded: "LoadedConfig") -> "dict[str, Address]":
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


async def _check_deployment(loaded: "LoadedConfig", client: "Client") -> Row:
    from comity.devnet.plan import Deployment, State

    try:
        steps = await Deployment(loaded, client).plan()
    except ComityError as error:
        return _row("deployment", False, str(error), error.next_step)
    open_steps = [step for step in steps if step.state is not State.DONE]
    if open_steps:
        found = f"{len(open_steps)} of {len(steps)} steps are not done, such as: {open_steps[0].what}"
        return _row("deployment", False, found, "comity deploy --plan")
    return _row("deployment", True, f"{len(steps)} steps done: verifiers registered, lanes open")


async def _check_attestors(loaded: "LoadedConfig") -> list[Row]:
    from comity.sdk.health import fetch_health

    named = [(name, url) for name, config in loaded.config.sets.items() for url in config.attestors]
    healths = await asyncio.gather(*(fetch_health(url) for _, url in named))
    rows: list[Row] = []
    for (name, url), health in zip(named, healths, strict=True):
        check = f"attestor {name} {url}"
        if health is None:
            standby = loaded.config.sets[name].standby
            found = "stands by" if standby else "does not answer"
            rows.append(_row(check, standby, found, _advise_attestor(loaded, name, url)))
        else:
            is_well = health.status == "ok"
            found = f"{health.status}, signer {health.signer}" + (f": {health.why}" if health.why else "")
            rows.append(_row(check, is_well, found, "read its log" if health.status == "halted" else "comity doctor"))
    return rows


def _advise_attestor(loaded: "LoadedConfig", set_name: str, url: str) -> str:
    from comity.cli.traces import build_advice

    config = loaded.config.sets[set_name]
    member = next((member for member in config.addresses if config.find_url(member) == url), None)
    return build_advice(loaded)(member) if member else "comity attest run"


def _row(check: str, is_well: bool, found: str, next_step: str | None = None) -> Row:
    step = None if is_well or next_step is None else complete_step(next_step, sys.argv)
    return {"check": check, "ok": is_well, "found": found, "next_step": step}
