"""RMSE, MAE and paired intervals of ratings."""

from __future__ import annotations

import math

import numpy as np
import pytest

from offline.rating.baselines import GlobalMean, UserMean
from offline.rating.figures import RatingFigures, compare, figures_of, find_tail
from offline.rating.ratings import Ratings, RatingSplit


def make(n: int, n_users: int, seed: int = 0) -> Ratings:
    rng = np.random.default_rng(seed)
    users = rng.integers(1, n_users + 1, n).astype(np.int32)
    values = rng.integers(1, 6, n).astype(np.float32)
    return Ratings(users, np.ones(n, np.int32), values)


def test_figures_are_those_of_the_definitions() -> None:
    found = RatingFigures.of(np.array([1, 4, 3], np.float32), np.array([2, 2, 3], np.float32))
    assert found == RatingFigures(pytest.approx(math.sqrt(5 / 3)), 1.0, 3)


def test_the_interval_of_a_difference_is_that_of_resampled_users() -> None:
    held_out, rng = make(4_000, 200), np.random.default_rng(3)
    biases = rng.normal(0, 0.5, 201)  # one user's errors go together
    first = (held_out.values + rng.normal(0, 1, 4_000) + biases[held_out.users]).astype(np.float32)
    second = (held_out.values + rng.normal(0, 1.1, 4_000)).astype(np.float32)
    found = compare(first, second, held_out)
    users = [np.flatnonzero(held_out.users == user) for user in range(1, 201)]
    drawn = []
    for _ in range(400):
        rows = np.concatenate([users[one] for one in rng.integers(0, 200, 200)])
        errors = [each[rows] - held_out.values[rows] for each in (first, second)]
        drawn.append(np.sqrt(np.mean(errors[0] ** 2)) - np.sqrt(np.mean(errors[1] ** 2)))
    assert found.margin is not None
    assert found.margin == pytest.approx(1.97 * np.std(drawn), rel=0.15)
    assert found.rmse == pytest.approx(np.mean(drawn), abs=0.01)


def test_tail_users_are_the_fifth_with_the_fewest_ratings() -> None:
    train = Ratings(*(np.array(a) for a in ([1, 1, 2, 3, 3, 4, 4, 5, 5], [1] * 9, [3.0] * 9)))
    assert np.flatnonzero(find_tail(train, 5)).tolist() == [2]


def test_the_report_has_each_model_part_and_group() -> None:
    split = RatingSplit(make(500, 20), make(80, 20, 1), make(90, 20, 2))
    tail = find_tail(split.train, 20)
    models = [one.fit(split, 20, 1) for one in (UserMean(), GlobalMean())]
    figures = figures_of(models, split, tail, (1.0, 5.0))
    assert figures["user mean"]["test"]["all"]["difference"] == {"rmse": 0.0, "margin": 0.0}
    rows = tail[split.test.users]
    wanted = RatingFigures.of(models[1].predict(split.test)[rows], split.test.values[rows])
    assert figures["global mean"]["test"]["tail"]["rmse"] == pytest.approx(wanted.rmse)
    assert figures["global mean"]["validation"]["all"]["n"] == 80
