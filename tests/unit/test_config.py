"""comity.toml: what wins, what is refused, and what is written back."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

from comity.config import decode_config, find_config, format_toml, load_config
from comity.core.errors import ConfigError
from comity.devnet.plan import write_keys

MEMBERS = [f"0x{number:040x}" for number in (1, 2, 3)]


@pytest.fixture
def tables() -> dict[str, Any]:
    return {
        "data": "project",
        "sets": {"main": {"members": MEMBERS, "threshold": 2}},
        "chains": {
            "alpha": {"chain": "eip155:1", "rpc": ["http://a"], "verifiers": [{"set": "main"}]},
            "beta": {"chain": "eip155:2", "rpc": ["http://a", "http://b", "http://c"]},
        },
    }


@pytest.fixture
def project(tables: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project folder with its file, away from the machine's own configuration."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "comity.toml").write_text(format_toml(tables))
    monkeypatch.chdir(folder)
    return folder


def write_xdg(tmp_path: Path, text: str) -> None:
    folder = tmp_path / "xdg" / "comity"
    folder.mkdir(parents=True)
    (folder / "comity.toml").write_text(text)


def test_the_project_wins_over_xdg_and_xdg_over_the_default(project: Path, tmp_path: Path) -> None:
    write_xdg(tmp_path, 'data = "xdg"\nkey = "xdg.key"\n')
    loaded = load_config()
    assert (loaded.config.data, loaded.config.key) == ("project", "xdg.key")
    assert loaded.config.owner.delay == 172_800


def test_the_environment_wins_over_the_project(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMITY_DATA", "environment")
    monkeypatch.setenv("COMITY_CHAINS__ALPHA__RPC", '["https://user:token@secret"]')
    loaded = load_config()
    assert loaded.config.data == "environment"
    assert loaded.config.chains["alpha"].rpc == ["https://user:token@secret"]
    assert loaded.config.chains["alpha"].chain == "eip155:1"


def test_a_flag_wins_over_the_environment(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMITY_DATA", "environment")
    assert load_config(overrides={"data": "flag"}).config.data == "flag"


def test_the_nearest_file_above_the_working_directory_is_read(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = project / "a" / "b"
    inner.mkdir(parents=True)
    monkeypatch.chdir(inner)
    assert find_config() == project / "comity.toml"


def test_paths_are_relative_to_the_file(project: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    loaded = load_config(project / "comity.toml")
    assert loaded.data == project / "project"


def test_no_file_names_the_next_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as refused:
        load_config()
    assert refused.value.next_step == "comity dev up"


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("typo",), 1, "typo"),
        (("chains", "alpha", "typo"), 1, "typo"),
        (("chains", "alpha", "chain"), "solana:mainnet", "eip155"),
        (("chains", "alpha", "chain"), "eip155:01", "CAIP-2|eip155"),
        (("chains", "alpha", "rpc"), [], "rpc is empty"),
        (("chains", "beta", "agree"), 4, "3 providers"),
        (("chains", "alpha", "verifiers"), [{"set": "other"}], "other"),
        (("sets", "main", "threshold"), 4, "threshold"),
        (("sets", "main", "threshold"), 1, "quorum"),
        (("sets", "main"), {"members": [f"0x{n:040x}" for n in range(1, 33)], "threshold": 15}, "1314 bytes"),
        (("sets", "main"), {"members": [f"0x{n:040x}" for n in range(1, 22)], "threshold": 21}, "1358 bytes"),
        (("sets", "main", "members"), [MEMBERS[0], MEMBERS[0]], "members"),
        (("sets", "main", "finality"), "soon", "finality"),
        (("sets", "main", "members"), ["0x12"], "members"),
        (("lanes",), [["alpha", "gamma"]], "gamma"),
        (("owner", "delay"), 0, "development"),
    ],
)
def test_a_wrong_value_is_refused_by_name(tables: dict[str, Any], path: tuple[str, ...], value: Any, said: str) -> None:
    table = tables
    for name in path[:-1]:
        table = table.setdefault(name, {})
    table[path[-1]] = value
    with pytest.raises(ConfigError, match=said):
        decode_config(tables, Path("comity.toml"))


@pytest.mark.parametrize(("members", "threshold"), [(32, 14), (20, 20)])
def test_the_largest_sets_that_a_gate_takes_are_allowed(tables: dict[str, Any], members: int, threshold: int) -> None:
    tables["sets"]["main"] = {"members": [f"0x{n:040x}" for n in range(1, members + 1)], "threshold": threshold}
    assert decode_config(tables, Path("comity.toml")).sets["main"].attestation_set.proof_bytes <= 1312


def test_one_signer_is_allowed_on_development_chains_only(tables: dict[str, Any]) -> None:
    tables["sets"]["main"]["threshold"] = 1
    tables["development"] = True
    assert decode_config(tables, Path("comity.toml")).sets["main"].threshold == 1


def test_a_chain_is_found_by_name_caip2_and_number(tables: dict[str, Any]) -> None:
    config = decode_config(tables, Path("comity.toml"))
    assert {config.find_chain(text)[0] for text in ("beta", "eip155:2", "2")} == {"beta"}
    with pytest.raises(ConfigError):
        config.find_chain("3")


def test_more_than_half_of_the_providers_must_agree(tables: dict[str, Any]) -> None:
    config = decode_config(tables, Path("comity.toml"))
    assert [config.chains[name].quorum for name in ("alpha", "beta")] == [1, 2]


def test_every_ordered_pair_is_a_lane_unless_lanes_are_named(tables: dict[str, Any]) -> None:
    assert decode_config(tables, Path("x")).list_lanes() == [("alpha", "beta"), ("beta", "alpha")]
    tables["lanes"] = [["beta", "alpha"]]
    assert decode_config(tables, Path("x")).list_lanes() == [("beta", "alpha")]


def test_written_toml_reads_back_as_the_same_tables(tables: dict[str, Any]) -> None:
    assert tomllib.loads(format_toml(tables)) == tables


def test_addresses_are_written_beside_what_people_wrote(tmp_path: Path) -> None:
    path = tmp_path / "comity.toml"
    path.write_text('# mine\n[chains.alpha]\nchain = "eip155:1" # one\nrouter = "0x00"\n\n[chains.beta]\nx = 1\n')
    write_keys(path, "[chains.alpha]", 0, {"router": "0x11", "start_block": 7})
    text = path.read_text()
    assert "# mine" in text
    assert "# one" in text
    read = tomllib.loads(text)["chains"]
    assert read == {"alpha": {"chain": "eip155:1", "router": "0x11", "start_block": 7}, "beta": {"x": 1}}


def test_addresses_go_into_the_right_table_of_an_array(tmp_path: Path) -> None:
    path = tmp_path / "comity.toml"
    path.write_text('[[v]]\nset = "a"\n[[v]]\nset = "b"\n')
    write_keys(path, "[[v]]", 1, {"address": "0x22"})
    assert tomllib.loads(path.read_text())["v"] == [{"set": "a"}, {"set": "b", "address": "0x22"}]
    with pytest.raises(ConfigError):
        write_keys(path, "[[v]]", 2, {"address": "0x33"})
