"""Rows of the item table for items without interactions.

A ridge regression from [knowledge_vector, 1] to the trained rows, in closed form. The service
appends a fresh item's row with one matrix product; no retraining, no re-export.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from offline.recommender.recommender import Vectors

_FOLDS = 5
# Penalties tried, as multiples of the mean variance along an axis of the vectors.
_PENALTIES = np.logspace(-3, 3, 7)

_Float64 = npt.NDArray[np.float64]
_Rows = npt.NDArray[np.intp]


class FreshRegression:
    """Finds the projection whose penalty predicts held-out trained rows best.

    Parts that depend on the knowledge alone are computed once, so that a table can be fitted after
    every epoch. Rows are read a fold at a time: no more than a fifth of them is ever copied.

    Args:
        knowledge: float32 [N+1, K], or None.
        trained: bool [N+1], rows of a table to learn from.
    """

    def __init__(self, knowledge: Vectors | None, trained: npt.NDArray[np.bool_]) -> None:
        self.trained = trained
        none = np.zeros((len(trained), 0), np.float32)
        self._knowledge = none if knowledge is None else knowledge
        rows = np.flatnonzero(trained)
        self._folds: list[_Rows] = []
        if self._knowledge.shape[1] == 0 or len(rows) < 2 * _FOLDS:
            return
        fold_of = np.random.default_rng(0).permutation(len(rows)) % _FOLDS
        self._folds = [rows[fold_of == fold] for fold in range(_FOLDS)]
        self._centre = self._mean(self._knowledge)
        parts = np.stack([inputs.T @ inputs for inputs in map(self._inputs, self._folds)])
        whole = parts.sum(axis=0)
        self._whole = _Ridge(whole)
        self._but_one = [_Ridge(whole - part) for part in parts]

    def fit(self, table: Vectors) -> Vectors:
        """The projection onto a table float32 [N+1, D].

        Returns:
            float32 [K+1, D]; `[knowledge_vector, 1] @ projection` is a table row. Without
            knowledge K is 0, and every fresh item gets the mean row.
        """
        middle = self._mean(table) if self.trained.any() else np.zeros(table.shape[1])
        if not self._folds:
            weights = np.zeros((self._knowledge.shape[1], table.shape[1]))
            return np.vstack([weights, middle]).astype(np.float32)
        products = np.stack([self._inputs(fold).T @ (table[fold] - middle) for fold in self._folds])
        whole = products.sum(axis=0)
        errors = np.zeros(len(_PENALTIES))
        for fold, ridge, own in zip(self._folds, self._but_one, products, strict=True):
            inputs, wanted = self._inputs(fold), table[fold] - middle
            for i, projection in enumerate(ridge.fit(whole - own, _PENALTIES)):
                errors[i] += np.square(inputs @ projection - wanted).sum()
        best = _PENALTIES[[int(errors.argmin())]]
        projection = self._whole.fit(whole, best)[0]
        projection[-1] += middle - self._centre @ projection[:-1]
        return projection.astype(np.float32)

    def _inputs(self, rows: _Rows) -> _Float64:
        """[knowledge_vector, 1] of some rows, about the mean of all: sums then lose no digits."""
        inputs = np.ones((len(rows), self._knowledge.shape[1] + 1))
        np.subtract(self._knowledge[rows], self._centre, out=inputs[:, :-1])
        return inputs

    def _mean(self, vectors: Vectors) -> _Float64:
        mean: _Float64 = vectors.mean(axis=0, dtype=np.float64, where=self.trained[:, None])
        return mean


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
    filled[cold] = inputs[cold] @ projection[:-1] + projection[-1]
    filled[0] = 0.0
    return filled


class _Ridge:
    """Ridge regression from fixed inputs, for many targets and penalties.

    It needs sums over rows only, and sums of parts add up.

    Args:
        squares: float64 [K+1, K+1], the sum over rows of [x, 1]'s outer products with itself.
    """

    def __init__(self, squares: _Float64) -> None:
        self._n = squares[-1, -1]
        self._centre = squares[-1, :-1] / self._n
        about_centre = squares[:-1, :-1] - self._n * np.outer(self._centre, self._centre)
        self._variances, self._axes = np.linalg.eigh(about_centre)

    def fit(self, products: _Float64, penalties: _Float64) -> list[_Float64]:
        """One projection [K+1, D] per penalty; the intercept is not penalised.

        Args:
            products: float64 [K+1, D], the sum over rows of [x, 1]'s outer products with targets.
            penalties: float64 [P].
        """
        middle = products[-1] / self._n
        moments = self._axes.T @ (products[:-1] - np.outer(self._centre, products[-1]))
        unit = max(float(self._variances.mean()), np.finfo(np.float64).tiny)
        projections = []
        for penalty in penalties:
            shrunk = moments / (self._variances.clip(min=0) + penalty * unit)[:, None]
            weights = self._axes @ shrunk
            projections.append(np.vstack([weights, middle - self._centre @ weights]))
        return projections
