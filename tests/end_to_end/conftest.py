"""One build of the odd data set through the command, with models of some thousand weights."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pytest

import longtail
import tests.offline.translations  # noqa: F401
from offline.data.dataset import Dataset, read_dataset
from offline.item_text import item_texts
from offline.knowledge.answers import AnswerLog, StoredAnswer, answer_key
from offline.knowledge.config import KnowledgeConfig
from offline.knowledge.generation import cache_file
from offline.knowledge.prompt import read_template
from tests.end_to_end.odd_data import write_odd_data
from tests.offline.encoding.tiny_encoder import make_tiny_bert
from tests.offline.knowledge.stand_ins import make_tiny_llama

DESCRIBED, MADE_ON, N_DESCRIBED = "People who like it are kind and calm.", date(2026, 4, 5), 3
RECIPE = """
description = "tiny models, for tests"

[knowledge]
model = "{llm}"
max_new_tokens = 8
retries = 0
min_usable = 0

[encoding]
encoder = "{encoder}"

[recommender]
embedding_size = 16
max_length = 12
layers = 1
dropout = 0.1

[training]
epochs = 25
learning_rate = 0.01
"""

MakeFolder = Callable[[Path], None]


@dataclass(frozen=True)
class Workshop:
    """Where builds happen: their inputs, which all workers share, their recipe and a folder."""

    root: Path
    inputs: Path
    recipe: Path

    @property
    def interactions(self) -> Path:
        return self.inputs / "interactions.csv"

    @property
    def items(self) -> Path:
        return self.inputs / "items.csv"

    @property
    def encoder(self) -> Path:
        return self.inputs / "encoder"

    def build(self, out: str, *flags: str) -> int:
        """`longtail build`, its exit code."""
        inputs = ["--interactions", str(self.interactions), "--items", str(self.items)]
        choices = ["--recipe", str(self.recipe), "--out", str(self.root / out), *flags]
        return longtail.main(["build", *inputs, *choices])


@pytest.fixture(scope="session")
def make_once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, MakeFolder], Path]:
    """A folder by its name, made by the worker that needs it first; the others only read it."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def make(name: str, make_folder: MakeFolder) -> Path:
        folder, partial = shared / name, shared / f"{name}-partial"
        with (shared / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not folder.exists():
                make_folder(partial)
                partial.rename(folder)
        return folder

    return make


def make_inputs(folder: Path) -> None:
    folder.mkdir()
    make_tiny_llama(folder / "llm")
    make_tiny_bert(folder / "encoder", layers=1)  # each is a second of every export
    write_odd_data(folder)


@pytest.fixture(scope="session")
def workshop(
    make_once: Callable[[str, MakeFolder], Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Workshop]:
    root, inputs = tmp_path_factory.mktemp("workshop"), make_once("inputs", make_inputs)
    recipe = root / "tiny.toml"
    recipe.write_text(RECIPE.format(llm=inputs / "llm", encoder=inputs / "encoder"))
    config = KnowledgeConfig(model=str(inputs / "llm"), max_new_tokens=8, retries=0)
    dataset = read_dataset(inputs / "interactions.csv", inputs / "items.csv")
    _remember_answers(config, dataset, root / "cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LONGTAIL_CACHE_DIR", str(root / "cache"))
        patch.setenv("LONGTAIL_BUNDLES_DIR", str(root / "bundles"))
        patch.setenv("LONGTAIL_STORE_DIR", str(root / "store"))
        yield Workshop(root, inputs, recipe)


def _remember_answers(config: KnowledgeConfig, dataset: Dataset, cache: Path) -> None:
    """A better model's answers about the first items, in the cache: the tiny one talks nonsense."""
    texts = item_texts(dataset.attributes, dataset.interactions.item_ids)[:N_DESCRIBED]
    template = read_template(config.prompt)
    with AnswerLog(cache_file(config, cache)) as log:
        log.append(
            StoredAnswer(answer_key(config, template, text), DESCRIBED, None, 1, MADE_ON)
            for text in texts
        )


@pytest.fixture(scope="session")
def built(make_once: Callable[[str, MakeFolder], Path], workshop: Workshop) -> Path:
    """The build's folder; its bundle is in `bundle/`. A copy of it is a build that is done."""

    def build(folder: Path) -> None:
        assert workshop.build("first") == 0
        shutil.move(workshop.root / "first", folder)

    return shutil.copytree(make_once("built", build), workshop.root / "out")
