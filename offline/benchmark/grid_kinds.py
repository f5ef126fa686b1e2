"""Reads grids of any kind, by their names or from files."""

from __future__ import annotations

from pathlib import Path

from offline.benchmark import alignment_grid, rating_grid, rerank_grid
from offline.benchmark.alignment_grid import AlignmentGrid
from offline.benchmark.grid import GRIDS, Grid, grid_names, read_grid
from offline.benchmark.rating_grid import RatingGrid
from offline.benchmark.rerank_grid import RerankGrid
from offline.config_file import read_config_file, read_toml

AnyGrid = Grid | RerankGrid | AlignmentGrid | RatingGrid


def open_grid(name: str) -> AnyGrid:
    """A grid of any kind by its name, or from a `.toml` file.

    Raises:
        ConfigError: there is no such grid, or something in it is wrong.
    """
    kind = _kind_of(name)
    if kind == alignment_grid.KIND:
        return read_config_file("grid", AlignmentGrid, name, GRIDS)
    if kind == rating_grid.KIND:
        return read_config_file("grid", RatingGrid, name, GRIDS)
    if kind == rerank_grid.KIND:
        return read_config_file("grid", RerankGrid, name, GRIDS).with_tuned_layout()
    return read_grid(name)


def name_of(grid: AnyGrid, given: str) -> str:
    """The name of a grid in commands: its own if it is bundled, else its file's."""
    path = Path(given)
    own = path.stem not in grid_names() or open_grid(path.stem) != grid
    return path.name if own else path.stem


def _kind_of(name: str) -> object:
    """The kind that a file states; None where it states none or can't be read."""
    path = Path(name) if name.endswith(".toml") else GRIDS / f"{name}.toml"
    try:
        return read_toml(path).get("kind")
    except (OSError, ValueError):
        return None
