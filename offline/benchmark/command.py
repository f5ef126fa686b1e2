"""`longtail benchmark`: run a grid, and write its tables."""

from __future__ import annotations

import json
import math
import shlex
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from model_store.errors import ConfigError, InputError
from model_store.files import write_atomically
from offline.artifact import locked
from offline.benchmark.cells import Cell, GridRun
from offline.benchmark.grid import Grid, name_of, read_grid
from offline.benchmark.page import render_page
from offline.benchmark.plots import plot_curves, plot_entries
from offline.benchmark.results import describe_data
from offline.evaluate.hardware import describe_hardware
from offline.inputs import NAMED, Source, find_source
from offline.revision import code_revision

_WRITE_EVERY_S = 5.0  # at most: cells that were trained before take little time


def benchmark(
    name: str,
    places: Mapping[str, str],
    root: Path,
    results: Path,
    *,
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
        only: one entry's name; the others are not trained.
        log: called with lines of progress.

    Raises:
        ConfigError: the grid is wrong, or a data set's folder isn't given.
        InputError: nothing can be held out of a data set; or some cells could not be trained,
            which is reported after all others.
    """
    grid = read_grid(name)
    sources = find_sources(grid, places)
    if only is not None and only not in {entry.name for entry in grid.entries}:
        known = ", ".join(entry.name for entry in grid.entries)
        raise ConfigError(f"--only {only!r}: the grid has no such entry (known: {known})")
    grid.check()
    with locked(root):
        document, failures = _begin(grid, name), []
        for choice in grid.data:
            run = GridRun(grid, choice, sources[choice.name], root / choice.name, log)
            for figures in _figures_of(run, only):
                document["data"][choice.name] = figures
                _write(document, results, Path(name).stem)
            failures += run.failures
    if only is None:
        log(f"{results / Path(name).stem}.md")
    if failures:
        raise InputError(f"{len(failures)} could not be trained, the first: {failures[0]}")


def _figures_of(run: GridRun, only: str | None) -> Iterator[dict[str, Any]]:
    """Train unfinished cells; yields the figures of all finished ones from time to time, and at the
    end. With `only` there are none.
    """
    split, n_items = run.split()
    cells: list[Cell] = []

    def describe() -> dict[str, Any]:
        return describe_data(run.grid, run.choice, split, n_items, cells)

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


def find_sources(grid: Grid, places: Mapping[str, str]) -> dict[str, Source]:
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
    return {name: find_source(places.get(name, name), None, None) for name in names}


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


def _begin(grid: Grid, name: str) -> dict[str, Any]:
    data = [f"--data {choice.name}=FOLDER" for choice in grid.data if choice.name not in NAMED]
    return {
        "description": grid.description,
        "command": " ".join(["longtail benchmark", shlex.quote(name_of(grid, name)), *data]),
        "date": datetime.now(UTC).date().isoformat(),
        "commit": code_revision(),
        "hardware": describe_hardware(),
        "grid": grid.model_dump(mode="json"),
        "data": {},
    }


def _write(document: Mapping[str, Any], results: Path, name: str) -> None:
    results.mkdir(parents=True, exist_ok=True)
    content = json.dumps(_rounded(document), indent=1, ensure_ascii=False, allow_nan=False)
    write_atomically(results / f"{name}.json", f"{content}\n".encode())
    plots = [f"{name}.svg"]
    plot_entries(document, results / plots[0])
    if any(data["curves"] for data in document["data"].values()):
        plots.append(f"{name}-curves.svg")
        plot_curves(document, results / plots[-1])
    write_atomically(results / f"{name}.md", render_page(document, plots).encode())


def _headline(cell: Cell) -> str:
    return (
        f"{cell.entry}, seed {cell.seed}: validation NDCG@10 {cell.facts['ndcg_at_10']:.4f} at "
        f"epoch {cell.facts['best_epoch']}"
    )


def _rounded(value: Any) -> Any:
    """Six decimals; a mean over nothing has no figure, which in JSON is null."""
    if isinstance(value, Mapping):
        return {key: _rounded(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(part) for part in value]
    if isinstance(value, float):
        return round(value, 6) if math.isfinite(value) else None
    return value
