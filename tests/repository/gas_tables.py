"""Gas figures of README.md and docs/adr/, from the snapshot; `python tests/repository/gas_tables.py` writes them."""

import re
from collections.abc import Mapping
from pathlib import Path

import msgspec

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
SNAPSHOT = ROOT / "tests" / "gas" / "snapshot.json"
DECISIONS = sorted((ROOT / "docs" / "adr").glob("*.md"))
BLOCK = re.compile(r"(<!-- gas: generated -->\n)(.*?)(<!-- gas: end -->)", re.DOTALL)
FIGURE = re.compile(r"(`((?:dispatch|deliver)_\w+)`(?: is)? )(\d[\d,]*\d)")
"""`name` is 12,345, or `name` 12,345."""

COLUMNS = {
    "dispatch_32": "send",
    "deliver_1_3of4": "deliver, 3 of 4",
    "deliver_1_13of19": "13 of 19",
    "deliver_run32_3of4": "in a run of 32",
    "deliver_run100_3of4": "of 100",
}
PEERS = (
    ("Hyperlane, merkle hook only", "79.8k", "99.2k", "", "60.6k", ""),
    ("Hyperlane, production hooks, paid", "169.1k", "133.6k", "", "", ""),
    ("LayerZero V2, 2 DVNs, paid", "209.1k", "278.8k", "", "", ""),
    ("Wormhole core", "38.8k", "105.0k", "209.6k", "", ""),
    ("Axelar, two transactions", "36.3k", "141.4k", "", "", ""),
    ("CCIP 2.0, paid", "239.6k", "161.1k", "", "", ""),
    ("IBC Eureka, attestation client", "94.1k", "256.9k", "", "", ""),
)


def load_figures() -> dict[str, int]:
    """Return the committed figures."""
    return msgspec.json.decode(SNAPSHOT.read_bytes(), type=dict[str, int])


def build_tables(figures: Mapping[str, int]) -> str:
    """Return both tables as they must stand in README.md."""
    ours = ("**Comity**", *(f"**{figures[name]:,}**" for name in COLUMNS))
    rows = (("gas for one message", *COLUMNS.values()), ("---",) + ("---:",) * len(COLUMNS), ours, *PEERS)
    rest = ", ".join(f"`{name}` {gas:,}" for name, gas in figures.items() if name not in COLUMNS)
    return "\n".join("| " + " | ".join(row) + " |" for row in rows) + f"\n\nAlso measured: {rest}.\n"


def write() -> None:
    """Put the figures where they are quoted."""
    figures = load_figures()
    text, count = BLOCK.subn(lambda found: found[1] + build_tables(figures) + found[3], README.read_text())
    assert count == 1
    README.write_text(text)
    for page in DECISIONS:
        page.write_text(FIGURE.sub(lambda found: f"{found[1]}{figures[found[2]]:,}", page.read_text()))


if __name__ == "__main__":
    write()
