"""A rating network goes on from an earlier one, in the numbers of other data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from model_store.id_map import IdMap
from offline.rating.config import DeepFmConfig
from offline.rating.fields import MAX_VALUES, ItemFields
from offline.rating.network import RatingNetwork, rated_means
from offline.rating.ratings import Ratings
from offline.rating.recommender import RatingRecommender
from offline.rating.training import predict
from offline.rating.warm_start import carried

N_USERS, N_ITEMS = 20, 15
CONFIG = DeepFmConfig(
    embedding_size=4, hidden=(8,), dropout=0.0, batch_size=32, learning_rate=0.02, epochs=2
)
USERS, ITEMS = ([f"{kind}{n}" for n in range(1, 1 + n)] for kind, n in (("u", 20), ("i", 15)))


def fields_of(n_items: int, names: tuple[str, ...] = ("genre", "tags")) -> ItemFields:
    """One value of the first field, some of the second."""
    values = np.zeros((len(names), n_items + 1, MAX_VALUES), np.int32)
    for item in range(1, n_items + 1):
        values[0, item, 0] = 1 + item % 3
        if len(names) > 1:
            values[1, item, : 1 + item % 2] = [4 + item % 4, 4 + (item + 1) % 4][: 1 + item % 2]
    return ItemFields(names, values)


@pytest.fixture(scope="module")
def ratings() -> Ratings:
    rng = np.random.default_rng(0)
    pairs = [(u, i) for u in range(1, N_USERS + 1) for i in range(1, N_ITEMS + 1)]
    users, items = np.array(pairs, np.int32).T
    values = (3 + np.where((users + items) % 2, 1, -1) + rng.normal(0, 0.1, len(pairs))).astype(
        np.float32
    )
    return Ratings(users, items, values)


@pytest.fixture(scope="module")
def earlier(ratings: Ratings) -> RatingRecommender:
    return RatingRecommender(CONFIG).fit(ratings, None, fields_of(N_ITEMS), N_USERS)


def renumbered(ratings: Ratings) -> Ratings:
    """In a data set whose ids are the other way round, behind a new one of each."""
    users, items = 2 + N_USERS - ratings.users, 2 + N_ITEMS - ratings.items
    return Ratings(users.astype(np.int32), items.astype(np.int32), ratings.values)


def test_before_any_training_it_predicts_as_the_earlier_one(
    earlier: RatingRecommender, ratings: Ratings, tmp_path: Path
) -> None:
    earlier.save(tmp_path)
    known = IdMap(USERS), IdMap(ITEMS)
    users, items = ["new", *reversed(USERS)], ["new", *reversed(ITEMS)]
    old = fields_of(N_ITEMS)
    values = np.zeros((2, N_ITEMS + 2, MAX_VALUES), np.int32)
    values[:, 2:] = old.values[:, :0:-1]
    fields = ItemFields(old.names, values)
    start = carried(RatingRecommender.load(tmp_path), known, (users, items), fields)
    assert start is not None
    again = renumbered(ratings)
    network = RatingNetwork(CONFIG, rated_means(again, N_USERS + 1, N_ITEMS + 1), fields)
    start.apply(network)
    found = np.clip(predict(network, again), *earlier.scale)
    assert np.abs(found - earlier.predict(ratings)).max() < 1e-3
    # The new ones are in the middle of the others.
    assert start.users[1] == pytest.approx(start.users[2:].mean(axis=0), abs=1e-5)
    assert start.items[1] == pytest.approx(start.items[2:].mean(axis=0), abs=1e-5)


def test_a_training_goes_on_from_it(earlier: RatingRecommender, ratings: Ratings) -> None:
    known, fields = (IdMap(USERS), IdMap(ITEMS)), fields_of(N_ITEMS)
    start = carried(earlier, known, (USERS, ITEMS), fields)
    cold, warm = (
        RatingRecommender(CONFIG.model_copy(update={"epochs": 1})).fit(
            ratings, ratings, fields, N_USERS, start=begun
        )
        for begun in (None, start)
    )
    figures = [one.record.best_figure for one in (cold, warm)]
    assert None not in figures
    assert figures[1] > figures[0]  # type: ignore[operator]
    again = warm.refit(ratings, fields, N_USERS, start=start)
    assert np.array_equal(again.predict(ratings), warm.predict(ratings))


def test_items_with_other_attributes_have_a_network_of_another_shape(
    earlier: RatingRecommender,
) -> None:
    known = IdMap(USERS), IdMap(ITEMS)
    for names in (("genre",), ("genre", "year")):
        assert carried(earlier, known, (USERS, ITEMS), fields_of(N_ITEMS, names)) is None
