"""`longtail benchmark`: run a grid, and write its tables."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from model_store.errors import ConfigError, InputError
from offline.artifact import locked
from offline.benchmark.alignment_cells import AlignmentRun
from offline.benchmark.alignment_grid import AlignmentGrid
from offline.benchmark.cells import Cell, GridRun
from offline.benchmark.document import begin_document, write_document
from offline.benchmark.grid import DataChoice
from offline.benchmark.grid_kinds import AnyGrid, open_grid
from offline.benchmark.rating_cells import RatingCell, RatingRun
from offline.benchmark.rating_grid import RatingGrid
from offline.benchmark.rating_results import describe_ratings
from offline.benchmark.rerank_cells import RerankCell, RerankRun
from offline.benchmark.rerank_grid import RerankGrid
from offline.benchmark.rerank_results import describe_reranking
from offline.benchmark.results import describe_data
from offline.data.namings import Naming
from offline.inputs import NAMED, Source, find_source
from offline.stages.stage import Log

AnyRun = GridRun | RerankRun | RatingRun
_WRITE_EVERY_S = 5.0  # at most: cells that were trained before take little time


def benchmark(
    name: str,
    places: Mapping[str, str],
    root: Path,
    results: Path,
    *,
    naming: Naming | None = None,
    only: str | None = None,
    log: Callable[[str], None] = print,
) -> None:
    """Run all unfinished cells; write the tables of the finished ones as they come.

    With `only`, no table is written: it would lack the other entries.

    Args:
        name: name or path of a grid.
        places: folders of data sets, by name; downloaded ones need none.
        root: folder of the trainings, to resume from.
        results: folder of the tables.
        naming: what was said about the columns of the files in `places`.
        only: one entry's name; the others are not trained.
        log: called with lines of progress.

    Raises:
        ConfigError: the grid is wrong, or a data set's folder isn't given.
        InputError: nothing can be held out of a data set; or some cells could not be trained,
            which is reported after all others.
    """
    grid = open_grid(name)
    reference = _reference_of(grid, places)
    sources = find_sources(grid, {n: p for n, p in places.items() if Path(p) != reference}, naming)
    _check_only(grid, only)
    grid.check()
    with locked(root):
        document, failures = begin_document(grid, name), list[str]()
        for choice in grid.data:
            run = _run_on(grid, choice, sources[choice.name], root / choice.name, log, reference)
            for figures in _figures_of_any(run, only):
                document["data"][choice.name] = figures
                write_document(document, results, Path(name).stem)
            failures += run.failures
    if only is None:
        log(f"{results / Path(name).stem}.md")
    if failures:
        raise InputError(f"{len(failures)} could not be trained, the first: {failures[0]}")


def _reference_of(grid: AnyGrid, places: Mapping[str, str]) -> Path | None:
    """The folder of an alignment grid's reference texts, if it was given."""
    if not isinstance(grid, AlignmentGrid) or grid.reference_texts not in places:
        return None
    return Path(places[grid.reference_texts])


def _check_only(grid: AnyGrid, only: str | None) -> None:
    if only is None:
        return
    if isinstance(grid, RerankGrid):
        raise ConfigError(f"--only {only!r}: the rows of a reranking grid are computed together")
    table = grid.table(with_reference=True) if isinstance(grid, AlignmentGrid) else grid
    if only not in {entry.name for entry in table.entries}:
        known = ", ".join(entry.name for entry in table.entries)
        raise ConfigError(f"--only {only!r}: the grid has no such entry (known: {known})")


def _run_on(
    grid: AnyGrid,
    choice: DataChoice,
    source: Source,
    root: Path,
    log: Log,
    reference: Path | None,
) -> AnyRun:
    if isinstance(grid, RatingGrid):
        return RatingRun(grid, choice, source, root, log)
    if isinstance(grid, RerankGrid):
        return RerankRun(grid, choice, source, root, log)
    if isinstance(grid, AlignmentGrid):
        table = grid.table(with_reference=reference is not None)
        return AlignmentRun(table, choice, source, root, log, alignment=grid, reference=reference)
    return GridRun(grid, choice, source, root, log)


def _figures_of_any(run: AnyRun, only: str | None) -> Iterator[dict[str, Any]]:
    if isinstance(run, RatingRun):
        return _figures_of_ratings(run, only)
    if isinstance(run, RerankRun):
        return _figures_of_reranking(run)
    return _figures_of(run, only)


def _figures_of_ratings(run: RatingRun, only: str | None) -> Iterator[dict[str, Any]]:
    """Train unfinished cells; yields the figures of all finished ones after each training."""
    cells: list[RatingCell] = []
    for cell in run.cells(only):
        cells.append(cell)
        if only is None and cell.facts:
            yield describe_ratings(run, cells)


def _figures_of_reranking(run: RerankRun) -> Iterator[dict[str, Any]]:
    """Compute the rows seed by seed; yields the figures of the finished seeds after each."""
    run.announce_bound()
    cells: list[RerankCell] = []
    for cell in run.cells():
        cells.append(cell)
        yield describe_reranking(run, cells)


def _figures_of(run: GridRun, only: str | None) -> Iterator[dict[str, Any]]:
    """Train unfinished cells; yields the figures of all finished ones from time to time, and at the
    end. With `only` there are none.
    """
    split, n_items = run.split()
    cells: list[Cell] = []

    def describe() -> dict[str, Any]:
        figures = describe_data(run.grid, run.choice, split, n_items, cells)
        return {**figures, **run.describe(cells)}

    written_s = time.monotonic()
    for cell in run.cells(only):
        cells.append(cell)
        if cell.seed is not None:
            run.log(f"{run.choice.name}: {_headline(cell)}")
        if only is None and time.monotonic() - written_s > _WRITE_EVERY_S:
            yield describe()
            written_s = time.monotonic()
    if only is None:
        yield describe()


def find_sources(
    grid: AnyGrid, places: Mapping[str, str], naming: Naming | None = None
) -> dict[str, Source]:
    """The files of each data set of a grid.

    Raises:
        ConfigError: a folder is missing, or given for a data set that the grid doesn't have.
    """
    names = [choice.name for choice in grid.data]
    if unknown := sorted(set(places) - set(names)):
        raise ConfigError(
            f"--data {unknown[0]}={places[unknown[0]]}: the grid's data are {', '.join(names)}"
        )
    for name in names:
        if name not in places and name not in NAMED:
            raise ConfigError(f"data {name!r}: give its folder with --data {name}=FOLDER")
    return {name: find_source(places.get(name, name), None, None, naming) for name in names}


def parse_places(given: Sequence[str]) -> dict[str, str]:
    """`NAME=FOLDER` arguments as a mapping.

    Raises:
        ConfigError: an argument has another form.
    """
    places = {}
    for argument in given:
        name, equals, place = argument.partition("=")
        if not (name and equals and place):
            raise ConfigError(f"--data {argument!r}: expected NAME=FOLDER")
        places[name] = place
    return places


def _headline(cell: Cell) -> str:
    return (
        f"{cell.entry}, seed {cell.seed}: validation NDCG@10 {cell.facts['ndcg_at_10']:.4f} at "
        f"epoch {cell.facts['best_epoch']}"
    )
