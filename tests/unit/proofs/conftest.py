"""Where recorded vectors are: in the folder `COMITY_VECTORS`, or in `shared/vectors` beside the checkout."""

import os
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[3]


@pytest.fixture(scope="session")
def mpt_vectors() -> Path:
    named = os.environ.get("COMITY_VECTORS")
    folder = (Path(named) if named else CHECKOUT.parent / "shared" / "vectors") / "mpt"
    if not folder.is_dir():
        pytest.skip("recorded vectors are not here: set COMITY_VECTORS to their folder")
    return folder
