"""One build of the odd data set through the command, with models of some thousand weights."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import longtail
from tests.end_to_end.odd_data import write_odd_data
from tests.offline.encoding.tiny_encoder import make_tiny_bert
from tests.offline.knowledge.stand_ins import make_tiny_llama

RECIPE = """
description = "tiny models, for tests"

[knowledge]
model = "{llm}"
max_new_tokens = 8
retries = 0

[encoding]
encoder = "{encoder}"

[recommender]
embedding_size = 16
max_length = 12
dropout = 0.1

[training]
epochs = 25
learning_rate = 0.01
"""


@dataclass(frozen=True)
class Workshop:
    """Where a build happens: its inputs, recipe and folder."""

    root: Path
    interactions: Path
    items: Path
    recipe: Path

    def build(self, out: str, *flags: str) -> int:
        """`longtail build`, its exit code."""
        inputs = ["--interactions", str(self.interactions), "--items", str(self.items)]
        choices = ["--recipe", str(self.recipe), "--out", str(self.root / out), *flags]
        return longtail.main(["build", *inputs, *choices])


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    root = tmp_path_factory.mktemp("workshop")
    llm, encoder = make_tiny_llama(root / "llm"), make_tiny_bert(root / "encoder")
    interactions, items = write_odd_data(root)
    recipe = root / "tiny.toml"
    recipe.write_text(RECIPE.format(llm=llm, encoder=encoder))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LONGTAIL_CACHE_DIR", str(root / "cache"))
        patch.setenv("LONGTAIL_BUNDLES_DIR", str(root / "bundles"))
        patch.setenv("LONGTAIL_STORE_DIR", str(root / "store"))
        yield Workshop(root, interactions, items, recipe)


@pytest.fixture(scope="session")
def built(workshop: Workshop) -> Path:
    """The build's folder; its bundle is in `bundle/`."""
    assert workshop.build("out") == 0
    return workshop.root / "out"
