"""Baselines against their formulas on examples that fit a page."""

from __future__ import annotations

import numpy as np
import pytest

from offline.rating.baselines import (
    BiasedMf,
    Biases,
    GlobalMean,
    ItemKnn,
    ItemMean,
    UserMean,
    fit_baselines,
    rmse,
    solve_rows,
)
from offline.rating.means import SHRINKAGE
from offline.rating.ratings import Ratings, RatingSplit


def ratings(*rows: tuple[int, int, float]) -> Ratings:
    users, items, values = zip(*rows, strict=True)
    return Ratings(
        np.array(users, np.int32), np.array(items, np.int32), np.array(values, np.float32)
    )


TRAIN = ratings((1, 1, 5), (1, 2, 4), (2, 1, 3), (2, 3, 2), (3, 2, 4))
SPLIT = RatingSplit(TRAIN, TRAIN, TRAIN)
ASKED = ratings((1, 3, 0), (4, 4, 0))


def test_means_are_shrunk_to_the_mean_of_all() -> None:
    mean = 18 / 5
    assert GlobalMean().fit(SPLIT, 4, 4).predict(ASKED).tolist() == pytest.approx([mean, mean])
    of_user = (9 + SHRINKAGE * mean) / (2 + SHRINKAGE)
    assert UserMean().fit(SPLIT, 4, 4).predict(ASKED).tolist() == pytest.approx([of_user, mean])
    of_item = (2 + SHRINKAGE * mean) / (1 + SHRINKAGE)
    assert ItemMean().fit(SPLIT, 4, 4).predict(ASKED).tolist() == pytest.approx([of_item, mean])


def test_item_knn_is_the_weighted_mean_of_deviations() -> None:
    model = ItemKnn().fit(SPLIT, 4, 4)
    biases = Biases.of(TRAIN, 4, 4)
    own = {(int(u), int(i)): float(d) for u, i, d in zip(
        TRAIN.users, TRAIN.items, TRAIN.values - biases.predict(TRAIN), strict=True)}  # fmt: skip
    # Item 3 and item 1 have user 2 alone in common, so that they correlate by the signs.
    similarity = np.sign(own[2, 3] * own[2, 1]) / (1 + ItemKnn.SHRINKAGE)
    wanted = biases.predict(ASKED)
    if similarity > 0:
        wanted[0] += own[1, 1]
    assert model.predict(ASKED).tolist() == pytest.approx(wanted.tolist(), abs=1e-5)


def test_least_squares_solve_the_regularised_normal_equations() -> None:
    rng = np.random.default_rng(0)
    numbers, others = np.array([1, 1, 1, 3], np.int32), rng.normal(size=(4, 3))
    values, rows = rng.normal(size=4), rng.normal(size=(4, 3))
    solve_rows(rows, numbers, others, values, 0.5)
    assert not rows[[0, 2]].any()

    def loss(row: np.ndarray, own: np.ndarray) -> float:
        predicted = row[0] + others[own, 0] + others[own, 1:] @ row[1:]
        squares = ((values[own] - predicted) ** 2).sum()
        return float(squares + 0.5 * len(own) ** 0.5 * (row**2).sum())

    for row, own in ((1, np.arange(3)), (3, np.array([3]))):
        best = loss(rows[row], own)
        for step in np.vstack([np.eye(3), -np.eye(3)]) * 1e-3:
            assert loss(rows[row] + step, own) > best


def test_biased_mf_finds_factors_that_means_cannot_know() -> None:
    rng = np.random.default_rng(1)
    users, items = rng.normal(size=(41, 1)), rng.normal(size=(31, 1))
    pairs = np.array([(u, i) for u in range(1, 41) for i in range(1, 31)])
    values = 3 + (users[pairs[:, 0]] * items[pairs[:, 1]])[:, 0]
    parts = rng.integers(0, 10, len(pairs))
    every = Ratings(
        pairs[:, 0].astype(np.int32), pairs[:, 1].astype(np.int32), values.astype(np.float32)
    )
    split = RatingSplit(every.chosen(parts < 8), every.chosen(parts == 8), every.chosen(parts == 9))
    *means, mf = fit_baselines(split, 40, 30, seed=0)
    errors = {model.name: rmse(model.predict(split.test), split.test.values) for model in means}
    assert isinstance(mf, BiasedMf)
    assert rmse(mf.predict(split.test), split.test.values) < 0.7 * min(errors.values())
    assert set(errors) == {"global mean", "user mean", "item mean", "item kNN"}
