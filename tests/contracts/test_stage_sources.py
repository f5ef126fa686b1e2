"""A stage names all the code that decides its result: else what is stale would be believed."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from offline.artifact import Artifact
from offline.behaviour import command as pretraining
from offline.benchmark import cells
from offline.build import Build
from offline.inputs import Source
from offline.recipe import read_recipe
from offline.synthetic import training as synthetic_training
from tests.contracts.tree import ROOT, imports_in, imports_of

OFFLINE = ROOT / "offline"
# They show progress, keep files, or fetch those whose checksum is known: no result hangs on them.
PASSIVE = ("artifact.py", "cache.py", "fetch.py", "progress.py")


class NamedStage(NamedTuple):
    """A stage's name, the sources it names, and the functions that make its result."""

    name: str
    sources: Sequence[str]
    made_by: Sequence[Callable[..., Any]]


class _Listing(Build):
    """Runs nothing, and notes what would be run."""

    noted: list[NamedStage] = []  # noqa: RUF012 - one list for all is what is wanted

    def run_stage(self, stage, produce) -> Artifact:
        self.noted.append(NamedStage(stage.name, stage.sources, [produce]))
        return Artifact(self.root / stage.name, "", {})


def stages_of_a_build() -> list[NamedStage]:
    source = Source(Path(__file__), None, "item")
    build = _Listing(source, read_recipe("behaviour"), Path("nowhere"))
    _Listing.noted.clear()
    data = build.read_data()
    knowledge = build.generate_knowledge(data)
    tuned = build.tune_encoder(data, knowledge)
    vectors = build.encode_items(knowledge, tuned)
    build.export_encoder(knowledge, tuned)
    trained = build.train(data, vectors)
    build.evaluate(data, trained)
    build.refit_on_everything(data, vectors, trained)
    build.export(data, trained)
    return list(_Listing.noted)


STAGES = [
    *stages_of_a_build(),
    NamedStage(
        "pretraining", pretraining.SOURCES, [pretraining._pretrain, pretraining._read_domain]
    ),
    NamedStage("ranks", cells.SOURCES, [cells._rank_network, cells._rank_baselines]),
]


def file_of(module: str) -> Path | None:
    """Below offline/; None for what is elsewhere, or is no module."""
    place = ROOT / Path(*module.split("."))
    candidates = (place.with_suffix(".py"), place / "__init__.py")
    return next((path for path in candidates if OFFLINE in path.parents and path.is_file()), None)


def files_of(imports: Iterable[tuple[str, str | None]]) -> Iterator[Path]:
    for module, name in imports:
        if (file := file_of(f"{module}.{name}") or file_of(module)) is not None:
            yield file


def all_behind(files: Iterable[Path]) -> set[str]:
    """What these files and all that they import are called below offline/, without the passive."""
    found: set[str] = set()
    waiting = list(files)
    while waiting:
        file = waiting.pop()
        name = str(file.relative_to(OFFLINE))
        if name not in found and name not in PASSIVE:
            found.add(name)
            waiting += files_of(imports_of(file))
    return found


def unnamed(sources: Sequence[str], files: Iterable[Path]) -> set[str]:
    """The files behind these that no source covers."""
    covered = [OFFLINE / source for source in sources]
    return {
        name
        for name in all_behind(files)
        if not any(OFFLINE / name == part or part in (OFFLINE / name).parents for part in covered)
    }


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_what_decides_a_stages_result_is_among_its_sources(stage: NamedStage) -> None:
    functions = [ast.parse(textwrap.dedent(inspect.getsource(made))) for made in stage.made_by]
    files = [file for function in functions for file in files_of(imports_in(function))]
    assert files
    assert unnamed(stage.sources, files) == set()


def test_a_made_model_is_trained_again_where_its_code_has_changed() -> None:
    # The shape is hashed by its values, so that other networks' choices don't count.
    sources = [*synthetic_training.SOURCES, "recommender/config.py"]
    assert unnamed(sources, [OFFLINE / "synthetic" / "training.py"]) == set()
