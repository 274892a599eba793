"""The committed vectors are what the generator writes."""

import sys

import pytest
from vector_files import FOLDER

STEMS = ("attestation", "envelope", "interop_address", "lane", "policy", "receipt")


@pytest.fixture
def generator(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    import generate

    yield generate
    for name in [name for name, module in sys.modules.items() if str(FOLDER) in str(getattr(module, "__file__", ""))]:
        del sys.modules[name]


@pytest.mark.parametrize("stem", STEMS)
def test_committed_file_is_what_the_generator_writes(stem, generator):
    assert (FOLDER / f"{stem}.json").read_text() == generator.build(stem)


def test_every_file_is_generated(generator):
    assert sorted(path.stem for path in FOLDER.glob("*.json")) == sorted(generator.BUILDERS) == sorted(STEMS)
