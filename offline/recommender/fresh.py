"""Rows of the item table for items that nobody has interacted with yet.

A ridge regression from [knowledge_vector, 1] to the trained rows, in closed form. The service
appends a fresh item's row with one matrix product; no retraining, no re-export.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from offline.recommender.recommender import Vectors

_FOLDS = 5
# Penalties tried, as multiples of the mean variance along an axis of the vectors.
_PENALTIES = np.logspace(-3, 3, 7)

_Float64 = npt.NDArray[np.float64]


class FreshRegression:
    """Finds the projection whose penalty predicts held-out trained rows best.

    What depends on the knowledge alone is reckoned once, so that a table can be fitted after every
    epoch.

    Args:
        knowledge: float32 [N+1, K], or None.
        trained: bool [N+1], rows of a table to learn from.
    """

    def __init__(self, knowledge: Vectors | None, trained: npt.NDArray[np.bool_]) -> None:
        self.trained = trained
        self._rows = np.flatnonzero(trained)
        self._inputs = np.zeros((len(self._rows), 0))
        if knowledge is not None:
            self._inputs = knowledge[self._rows].astype(np.float64)
        self._folds: list[_Fold] = []
        if self._inputs.shape[1] == 0 or len(self._rows) < 2 * _FOLDS:
            return
        fold_of = np.random.default_rng(0).permutation(len(self._rows)) % _FOLDS
        self._folds = [
            _Fold(_Ridge(self._inputs[fold_of != fold]), fold_of == fold) for fold in range(_FOLDS)
        ]
        self._whole = _Ridge(self._inputs)

    def fit(self, table: Vectors) -> Vectors:
        """The projection onto a table float32 [N+1, D].

        Returns:
            float32 [K+1, D]; `[knowledge_vector, 1] @ projection` is a table row. Without
            knowledge K is 0, and every fresh item gets the mean row.
        """
        targets = table[self._rows].astype(np.float64)
        if not self._folds:
            weights = np.zeros((self._inputs.shape[1], table.shape[1]))
            mean = targets.mean(axis=0) if len(targets) else np.zeros(table.shape[1])
            return np.vstack([weights, mean]).astype(np.float32)
        errors = np.zeros(len(_PENALTIES))
        for fold in self._folds:
            inputs, wanted = self._inputs[fold.held], targets[fold.held]
            for i, projection in enumerate(fold.ridge.fit(targets[~fold.held], _PENALTIES)):
                errors[i] += np.square(_apply(projection, inputs) - wanted).sum()
        best = _PENALTIES[[int(errors.argmin())]]
        return self._whole.fit(targets, best)[0].astype(np.float32)


def fill_fresh_rows(
    table: Vectors,
    knowledge: Vectors | None,
    trained: npt.NDArray[np.bool_],
    projection: Vectors,
) -> Vectors:
    """A copy of the table whose untrained rows are projected ones; row 0 is zeros."""
    filled = table.copy()
    cold = ~trained
    inputs = np.zeros((len(table), 0), np.float32) if knowledge is None else knowledge
    filled[cold] = _apply(projection, inputs[cold])
    filled[0] = 0.0
    return filled


def _apply(projection: npt.NDArray[np.floating], inputs: npt.NDArray[np.floating]) -> _Float64:
    return np.asarray(inputs @ projection[:-1] + projection[-1], dtype=np.float64)


class _Ridge:
    """Ridge regression from fixed inputs float64 [n, K], for many targets and penalties."""

    def __init__(self, inputs: _Float64) -> None:
        self._centre = inputs.mean(axis=0)
        self._deviations = inputs - self._centre
        self._variances, self._axes = np.linalg.eigh(self._deviations.T @ self._deviations)

    def fit(self, targets: _Float64, penalties: _Float64) -> list[_Float64]:
        """One projection [K+1, D] per penalty; the intercept is not penalised."""
        middle = targets.mean(axis=0)
        moments = self._axes.T @ (self._deviations.T @ (targets - middle))
        unit = max(float(self._variances.mean()), np.finfo(np.float64).tiny)
        projections = []
        for penalty in penalties:
            shrunk = moments / (self._variances.clip(min=0) + penalty * unit)[:, None]
            weights = self._axes @ shrunk
            projections.append(np.vstack([weights, middle - self._centre @ weights]))
        return projections


@dataclass(frozen=True)
class _Fold:
    """A ridge regression, and the rows bool [n] that it didn't see."""

    ridge: _Ridge
    held: npt.NDArray[np.bool_]
