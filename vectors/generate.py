"""Write vectors/*.json: `python vectors/generate.py`. The format is in vectors/README.md."""

import json
from pathlib import Path

from attestation_cases import build_attestation
from envelope_cases import build_envelope
from interop_address_cases import build_interop_address
from lane_cases import build_lane, build_receipt
from policy_cases import build_policy

BUILDERS = {
    "envelope": build_envelope,
    "lane": build_lane,
    "policy": build_policy,
    "receipt": build_receipt,
    "attestation": build_attestation,
    "interop_address": build_interop_address,
}


def build(stem: str) -> str:
    """The text of vectors/<stem>.json."""
    return json.dumps(BUILDERS[stem](), indent=1) + "\n"


if __name__ == "__main__":
    for stem in BUILDERS:
        (Path(__file__).parent / f"{stem}.json").write_text(build(stem))
