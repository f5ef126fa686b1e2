"""Rows of the item table for items that nobody has interacted with yet.

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


def fit_fresh_projection(
    knowledge: Vectors | None, table: Vectors, trained: npt.NDArray[np.bool_]
) -> Vectors:
    """The projection whose penalty predicts held-out trained rows best.

    Args:
        knowledge: float32 [N+1, K], or None.
        table: float32 [N+1, D].
        trained: bool [N+1], rows of `table` to learn from.

    Returns:
        float32 [K+1, D]; `[knowledge_vector, 1] @ projection` is a table row. Without knowledge
        K is 0, and every fresh item gets the mean row.
    """
    rows = np.flatnonzero(trained)
    inputs = np.zeros((len(table), 0)) if knowledge is None else knowledge.astype(np.float64)
    targets = table.astype(np.float64)[rows]
    inputs = inputs[rows]
    if inputs.shape[1] == 0 or len(rows) < 2 * _FOLDS:
        weights = np.zeros((inputs.shape[1], table.shape[1]))
        mean = targets.mean(axis=0) if len(rows) else np.zeros(table.shape[1])
        return np.vstack([weights, mean]).astype(np.float32)
    fold_of = np.random.default_rng(0).permutation(len(rows)) % _FOLDS
    errors = np.zeros(len(_PENALTIES))
    for fold in range(_FOLDS):
        learned, held = fold_of != fold, fold_of == fold
        for i, projection in enumerate(_ridge(inputs[learned], targets[learned], _PENALTIES)):
            errors[i] += np.square(_apply(projection, inputs[held]) - targets[held]).sum()
    best = _PENALTIES[[int(errors.argmin())]]
    return _ridge(inputs, targets, best)[0].astype(np.float32)


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


def _ridge(inputs: _Float64, targets: _Float64, penalties: _Float64) -> list[_Float64]:
    """One projection [K+1, D] per penalty; the intercept is not penalised."""
    centre, middle = inputs.mean(axis=0), targets.mean(axis=0)
    deviations = inputs - centre
    variances, axes = np.linalg.eigh(deviations.T @ deviations)
    moments = axes.T @ (deviations.T @ (targets - middle))
    unit = max(float(variances.mean()), np.finfo(np.float64).tiny)
    projections = []
    for penalty in penalties:
        weights = axes @ (moments / (variances.clip(min=0) + penalty * unit)[:, None])
        projections.append(np.vstack([weights, middle - centre @ weights]))
    return projections
