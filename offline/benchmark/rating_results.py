"""The figures of a grid of ratings: RMSE and MAE, with intervals paired over users and seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from offline.benchmark.rating_cells import RatingCell, RatingRun
from offline.intervals import uncertainty_of
from offline.rating.figures import RatingFigures, find_tail
from offline.stages.rating_predictions import PARTS

if TYPE_CHECKING:
    from offline.rating.ratings import Ratings, RatingSplit

Figures = dict[str, Any]
Float64 = npt.NDArray[np.float64]
GROUPS = ("all", "tail")


@dataclass(frozen=True)
class HeldOut:
    """The held-out ratings of one seed's part that count for a group of users.

    Attributes:
        ratings: of the part.
        chosen: bool [n].
        measured: the users who are measured, bool [U].
    """

    ratings: Ratings
    chosen: npt.NDArray[np.bool_]
    measured: npt.NDArray[np.bool_]

    def errors(self, predicted: npt.NDArray[np.float32]) -> Float64:
        """Predictions minus ratings, of those that count."""
        return (predicted - self.ratings.values)[self.chosen].astype(np.float64)

    def deviations(self, values: Float64) -> Float64:
        """How far each measured user moves the mean of some values of the ratings, float64.

        Their mean is 0, and they vary as draws of so many users make the mean vary.
        """
        users = self.ratings.users[self.chosen] - 1
        sums = np.bincount(users, weights=values - values.mean(), minlength=len(self.measured))
        deviations: Float64 = sums[self.measured] * (self.measured.sum() / len(values))
        return deviations


def describe_ratings(run: RatingRun, cells: Sequence[RatingCell]) -> Figures:
    """Figures of one data set's cells; at least one."""
    seeds = sorted({cell.seed for cell in cells})
    splits = {seed: run.split(seed) for seed in seeds}
    n_users = int(run.data.facts["users"])
    by_entry: dict[str, list[RatingCell]] = {}
    for cell in sorted(cells, key=lambda cell: cell.seed):
        by_entry.setdefault(cell.entry, []).append(cell)
    first = splits[seeds[0]]
    document: Figures = {
        "users": n_users,
        "measured_users": int(run.measured_users.sum()),
        "items": run.data.n_items,
        "ratings": {part: len(getattr(first, part)) for part in ("train", *PARTS)},
        "entries": {name: {} for name in by_entry},
        "curves": {},
    }
    for part in PARTS:
        groups = _groups_of(splits, part, run.measured_users)
        for name, found in by_entry.items():
            other = by_entry.get(found[0].against or run.grid.against(name), found)
            figures: Figures = {"seeds": len(found), "against": None}
            for group, held_out in groups.items():
                figures[group] = means_of(found, part, held_out)
                if other is not found:
                    figures["against"] = other[0].entry
                    figures[group]["difference"] = difference_of(found, other, part, held_out)
            document["entries"][name][part] = figures
    for name, found in by_entry.items():
        document["entries"][name]["training"] = [
            {"seed": cell.seed, **cell.facts} for cell in found if cell.facts
        ]
    return document


def means_of(cells: Sequence[RatingCell], part: str, held_out: Mapping[int, HeldOut]) -> Figures:
    """RMSE and MAE, means over seeds, with the standard error of RMSE over users and seeds."""
    figures = [
        RatingFigures.of_errors(held_out[cell.seed].errors(cell.predicted[part])) for cell in cells
    ]
    rmse = float(np.mean([each.rmse for each in figures]))
    moved = [
        held_out[cell.seed].deviations(held_out[cell.seed].errors(cell.predicted[part]) ** 2)
        / (2 * each.rmse)
        + each.rmse
        for cell, each in zip(cells, figures, strict=True)
        if each.rmse
    ]
    error = uncertainty_of(np.stack(moved)).standard_error if moved else 0.0
    return {
        "ratings": sum(each.n for each in figures),
        "rmse": rmse,
        "rmse_standard_error": error,
        "rmse_of_seeds": [each.rmse for each in figures],
        "mae": float(np.mean([each.mae for each in figures])),
    }


def difference_of(
    cells: Sequence[RatingCell],
    others: Sequence[RatingCell],
    part: str,
    held_out: Mapping[int, HeldOut],
) -> Figures:
    """RMSE minus another model's, paired by user and seed, with its 95 % interval.

    By the delta method a difference of two roots varies as the difference of the squared errors
    over the sum of the roots (as in `offline.rating.figures.compare`).
    """
    by_seed = {cell.seed: cell for cell in others}
    differences, moved = [], []
    for cell in cells:
        if cell.seed not in by_seed:
            continue
        own = held_out[cell.seed]
        first, second = (
            own.errors(each.predicted[part]) ** 2 for each in (cell, by_seed[cell.seed])
        )
        roots = [float(np.sqrt(squares.mean())) for squares in (first, second)]
        differences.append(roots[0] - roots[1])
        scale = sum(roots) or 1.0
        moved.append(own.deviations(first - second) / scale + differences[-1])
    if not moved:
        return {}
    mean, margin = float(np.mean(differences)), uncertainty_of(np.stack(moved)).margin
    return {"rmse": mean, "from": mean - margin, "to": mean + margin, "seeds": len(moved)}


def _groups_of(
    splits: Mapping[int, RatingSplit], part: str, measured: npt.NDArray[np.bool_]
) -> dict[str, dict[int, HeldOut]]:
    """Held-out ratings by group and seed; a group without ratings of some seed is left out."""
    groups: dict[str, dict[int, HeldOut]] = {group: {} for group in GROUPS}
    n_users = len(measured)
    for seed, split in splits.items():
        ratings: Ratings = getattr(split, part)
        is_measured = measured[ratings.users - 1]
        is_tail = is_measured & find_tail(split.train, n_users)[ratings.users]
        groups["all"][seed] = HeldOut(ratings, is_measured, measured)
        groups["tail"][seed] = HeldOut(ratings, is_tail, measured)
    return {
        name: of_group
        for name, of_group in groups.items()
        if all(held_out.chosen.any() for held_out in of_group.values())
    }
