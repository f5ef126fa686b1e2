"""What a rating network has to beat: means, neighbours among items, matrix factorisation."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt

from offline.rating.means import Means
from offline.rating.ratings import Ratings, RatingSplit

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]


class RatingPredictor(Protocol):
    """A model of ratings, as far as it is measured."""

    @property
    def name(self) -> str:
        """Names its figures."""
        ...

    def predict(self, ratings: Ratings) -> Float32:
        """Predictions float32 [n] for users and items of ratings; their values aren't read."""
        ...


class GlobalMean:
    """The mean of all training ratings, for everyone."""

    name = "global mean"

    def fit(self, split: RatingSplit, n_users: int, n_items: int) -> Self:  # noqa: ARG002
        """Take the mean."""
        self.mean = float(split.train.values.mean(dtype=np.float64))
        return self

    def predict(self, ratings: Ratings) -> Float32:
        """See `RatingPredictor.predict`."""
        return np.full(len(ratings), self.mean, np.float32)


class UserMean:
    """Each user's mean rating."""

    name = "user mean"

    def fit(self, split: RatingSplit, n_users: int, n_items: int) -> Self:
        """Take the means."""
        self.means = Means.of(split.train, n_users, n_items).users
        return self

    def predict(self, ratings: Ratings) -> Float32:
        """See `RatingPredictor.predict`."""
        return self.means[ratings.users]


class ItemMean:
    """Each item's mean rating."""

    name = "item mean"

    def fit(self, split: RatingSplit, n_users: int, n_items: int) -> Self:
        """Take the means."""
        self.means = Means.of(split.train, n_users, n_items).items
        return self

    def predict(self, ratings: Ratings) -> Float32:
        """See `RatingPredictor.predict`."""
        return self.means[ratings.items]


class ItemKnn:
    """Ratings of the most similar items by the same user (Sarwar et al., 2001).

    Deviations from the biases of user and item are correlated; a correlation of few common raters
    is shrunk (Koren, 2008). The number of neighbours is the best on validation.
    """

    name = "item kNN"
    NEIGHBOURS = (10, 20, 40, 80)
    SHRINKAGE = 100.0
    MAX_ITEMS, MAX_USERS = 6_000, 50_000  # matrices of up to 1.2 GB

    def fit(self, split: RatingSplit, n_users: int, n_items: int) -> Self:
        """Correlate the items; the matrices of users by items and items by items are whole."""
        self.biases = Biases.of(split.train, n_users, n_items)
        self.deviations = np.zeros((n_users + 1, n_items + 1), np.float32)
        rated = np.zeros_like(self.deviations)
        train = split.train
        self.deviations[train.users, train.items] = train.values - self.biases.predict(train)
        rated[train.users, train.items] = 1
        common = rated.T @ rated
        squares = (self.deviations**2).T @ rated
        scale = np.sqrt(np.maximum(squares * squares.T, 1e-12))
        self.similarities = self.deviations.T @ self.deviations / scale
        self.similarities *= common / (common + self.SHRINKAGE)
        np.fill_diagonal(self.similarities, 0)
        self.rated = rated > 0
        self.n_neighbours = min(
            self.NEIGHBOURS,
            key=lambda n: rmse(self._predict(split.validation, n), split.validation.values),
        )
        return self

    def predict(self, ratings: Ratings) -> Float32:
        """See `RatingPredictor.predict`."""
        return self._predict(ratings, self.n_neighbours)

    def _predict(self, ratings: Ratings, n_neighbours: int) -> Float32:
        answers = np.array(self.biases.predict(ratings))
        for place, (user, item) in enumerate(zip(ratings.users, ratings.items, strict=True)):
            own = np.flatnonzero(self.rated[user])
            similar = np.maximum(self.similarities[item, own], 0)
            if len(own) > n_neighbours:
                best = np.argpartition(-similar, n_neighbours)[:n_neighbours]
                own, similar = own[best], similar[best]
            if total := float(similar.sum()):
                answers[place] += similar @ self.deviations[user, own] / total
        return answers


@dataclass(frozen=True)
class Biases:
    """Global mean, and biases of items and then of users, shrunk where there are few ratings.

    As in Koren (2008), section 2.1. users: float32 [U+1]. items: float32 [N+1].
    """

    mean: float
    users: Float32
    items: Float32

    @classmethod
    def of(cls, ratings: Ratings, n_users: int, n_items: int) -> Self:
        """The biases of ratings."""
        means = Means.of(ratings, n_users, n_items)
        mean = float(means.items[0])
        items = means.items - np.float32(mean)
        left = replace(ratings, values=ratings.values - items[ratings.items])
        users = Means.of(left, n_users, n_items).users - np.float32(mean)
        return cls(mean, users, items)

    def predict(self, ratings: Ratings) -> Float32:
        """Sums of global mean and both biases, float32 [n]."""
        answer: Float32 = self.mean + self.users[ratings.users] + self.items[ratings.items]
        return answer


class BiasedMf:
    """Biases and factors of users and items (Koren et al., 2009), by alternating least squares.

    The squared error, plus the squares of each row's numbers times `regularisation` times the root
    of its number of ratings. `fit` takes the size, regularisation and number of sweeps that are
    the best on validation.
    """

    name = "biased MF"
    SIZES = (10,)
    REGULARISATIONS = (0.7, 1.0, 1.5)
    MAX_SWEEPS = 16

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        self.mean = 0.0
        # Column 0 holds biases.
        self.users: Float64 = np.zeros((1, 1))
        self.items: Float64 = np.zeros((1, 1))

    def fit(self, split: RatingSplit, n_users: int, n_items: int) -> Self:
        """Fit with each of the choices, and keep the best."""
        self.mean = float(split.train.values.mean(dtype=np.float64))
        best, kept = np.inf, (self.users, self.items)
        for size in self.SIZES:
            for regularisation in self.REGULARISATIONS:
                rng = np.random.default_rng([self.seed, size])
                self.users, self.items = (
                    np.hstack([np.zeros((n + 1, 1)), rng.normal(0, 0.1, (n + 1, size))])
                    for n in (n_users, n_items)
                )
                before = np.inf
                for _ in range(self.MAX_SWEEPS):
                    self._sweep(split.train, regularisation)
                    error = rmse(self.predict(split.validation), split.validation.values)
                    if error < best:
                        best, kept = error, (self.users.copy(), self.items.copy())
                    if error > before:
                        break
                    before = error
        self.users, self.items = kept
        return self

    def _sweep(self, train: Ratings, regularisation: float) -> None:
        values = train.values.astype(np.float64) - self.mean
        solve_rows(self.users, train.users, self.items[train.items], values, regularisation)
        solve_rows(self.items, train.items, self.users[train.users], values, regularisation)

    def predict(self, ratings: Ratings) -> Float32:
        """See `RatingPredictor.predict`."""
        users, items = self.users[ratings.users], self.items[ratings.items]
        products = np.einsum("nd,nd->n", users[:, 1:], items[:, 1:])
        answer: Float32 = (self.mean + users[:, 0] + items[:, 0] + products).astype(np.float32)
        return answer


def fit_baselines(
    split: RatingSplit, n_users: int, n_items: int, seed: int
) -> list[RatingPredictor]:
    """All baselines, the best last; neighbours only where their matrices are of a moderate size."""
    models: list[Any] = [GlobalMean(), UserMean(), ItemMean()]
    if n_items <= ItemKnn.MAX_ITEMS and n_users <= ItemKnn.MAX_USERS:
        models.append(ItemKnn())
    return [model.fit(split, n_users, n_items) for model in (*models, BiasedMf(seed))]


def solve_rows(
    rows: Float64,
    numbers: npt.NDArray[np.int32],
    others: Float64,
    values: Float64,
    regularisation: float,
) -> None:
    """Set each row to the least-squares solution given the other side; rows without ratings to 0.

    Args:
        rows: float64 [R, 1 + D], bias and factors; changed in place.
        numbers: of the row of each rating, [n].
        others: float64 [n, 1 + D], the other side's row of each rating.
        values: float64 [n], ratings without the global mean.
        regularisation: of a row, times the root of its number of ratings.
    """
    order = np.argsort(numbers, kind="stable")
    ends = np.cumsum(np.bincount(numbers, minlength=len(rows)))
    wanted = (values - others[:, 0])[order]
    known = others[order]
    known[:, 0] = 1
    rows[:] = 0
    start = 0
    for row, end in enumerate(ends.tolist()):
        if end > start:
            own = known[start:end]
            normal = own.T @ own
            normal[np.diag_indices_from(normal)] += regularisation * (end - start) ** 0.5
            rows[row] = np.linalg.solve(normal, own.T @ wanted[start:end])
        start = end


def rmse(predicted: npt.NDArray[np.floating], values: Float32) -> float:
    """Root of the mean squared error."""
    return float(np.sqrt(np.mean((predicted - values) ** 2, dtype=np.float64)))
