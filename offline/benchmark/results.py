"""The results of a grid as one JSON document, from which page and plots are written."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import Any

from offline.benchmark.cells import BASELINES, Cell
from offline.benchmark.figures import Groups, describe_entry, paired_gain
from offline.benchmark.grid import DataChoice, Grid
from offline.data.split import Split
from offline.recommender.recommender import TrainingData

PAIRED_GROUPS = ("all", "tail", "rare")


def describe_data(
    grid: Grid, data: DataChoice, split: Split, n_items: int, cells: Sequence[Cell]
) -> dict[str, Any]:
    """Figures of one data set's cells.

    Args:
        grid: the grid.
        data: its entry of the data set.
        split: its held-out cases.
        n_items: N.
        cells: finished ones.
    """
    counts = TrainingData.of_split(split, n_items).counts()
    by_entry = {
        name: sorted(
            (cell for cell in cells if cell.entry == name), key=lambda cell: cell.seed or 0
        )
        for name in (*BASELINES, *(entry.name for entry in grid.entries_on(data.name)))
    }
    by_entry = {name: found for name, found in by_entry.items() if found}
    document: dict[str, Any] = {
        "users": len(split.train_offsets) - 1,
        "items": n_items,
        "training_interactions": len(split.train_items),
        "entries": {name: {} for name in by_entry},
        "curves": _describe_curves(grid.curves_on(data), by_entry),
    }
    repeats = {part: getattr(split, part).are_repeats() for part in grid.parts}
    if any(some.any() for some in repeats.values()):
        document["repeats"] = {part: float(some.mean()) for part, some in repeats.items()}
    for part in grid.parts:
        groups = Groups.of_cases(getattr(split, part), counts)
        for name, found in by_entry.items():
            figures = describe_entry([cell.ranks[part] for cell in found], groups, grid.at)
            other = _against(grid, name)
            if other in by_entry and other != name:
                pair = _of_same_seeds(found, by_entry[other])
                figures |= _describe_gain(pair, part, groups, grid.at)
            document["entries"][name][part] = figures
    for name, found in by_entry.items():
        document["entries"][name]["training"] = [
            {"seed": cell.seed, **cell.facts} for cell in found if cell.seed is not None
        ]
    return document


def _describe_curves(
    curves: Mapping[str, Mapping[float, str]], finished: Container[str]
) -> dict[str, list[dict[str, Any]]]:
    """The entries of each curve, by share; their figures are those of the entries."""
    described = {
        curve: [
            {"share": share, "entry": entry} for share, entry in points.items() if entry in finished
        ]
        for curve, points in curves.items()
    }
    return {curve: points for curve, points in described.items() if points}


def _against(grid: Grid, name: str) -> str:
    for entry in grid.entries:
        if entry.name == name:
            return entry.against or grid.reference
    return grid.reference


def _of_same_seeds(cells: Sequence[Cell], others: Sequence[Cell]) -> tuple[list[Cell], list[Cell]]:
    """Ranks that can be paired; those without a seed are paired with all."""

    def fitting(some: Sequence[Cell], seeds: set[int | None]) -> list[Cell]:
        return [cell for cell in some if cell.seed is None or None in seeds or cell.seed in seeds]

    return (
        fitting(cells, {cell.seed for cell in others}),
        fitting(others, {cell.seed for cell in cells}),
    )


def _describe_gain(
    pair: tuple[list[Cell], list[Cell]], part: str, groups: Groups, at: Sequence[int]
) -> dict[str, Any]:
    cells, others = pair
    if not cells or not others:
        return {}
    ranks, against = ([cell.ranks[part] for cell in some] for some in pair)
    gain: dict[str, Any] = {"against": others[0].entry, "seeds": max(len(cells), len(others))}
    for group in PAIRED_GROUPS:
        if groups.of[group].any():
            gain[group] = paired_gain(ranks, against, groups.of[group])
            for k in at:
                gain[f"{group} at {k}"] = paired_gain(ranks, against, groups.of[group], k)
    return {"gain": gain}
