"""Ratings are held out at random, by user or by time, and are never lost or doubled."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from model_store.errors import InputError
from model_store.id_map import IdMap
from offline.data.interactions import Interactions
from offline.rating.ratings import RATING_SPLITS, RatingSplit, split_ratings


def make_interactions(n: int = 60, seed: int = 0, unrated: int = 0) -> Interactions:
    rng = np.random.default_rng(seed)
    ratings = rng.integers(1, 6, n).astype(np.float32)
    ratings[:unrated] = np.nan
    return Interactions.from_rows(
        [f"u{u}" for u in range(5)],
        IdMap([f"i{i}" for i in range(1, 8)]),
        np.sort(rng.integers(0, 5, n)),
        rng.integers(1, 8, n),
        rng.integers(0, 1000, n).astype(float),
        ratings,
    )


def triples(split: RatingSplit) -> list[tuple[int, int, float]]:
    parts = [split.train, split.validation, split.test]
    return sorted(
        (int(u), int(i), float(v))
        for part in parts
        for u, i, v in zip(part.users, part.items, part.values, strict=True)
    )


@pytest.mark.parametrize("name", RATING_SPLITS)
def test_every_rating_is_in_one_part(name: str) -> None:
    interactions = make_interactions(unrated=4)
    users = np.repeat(np.arange(5), np.diff(interactions.offsets))
    assert interactions.ratings is not None
    wanted = sorted(
        (int(u) + 1, int(i), float(v))
        for u, i, v in zip(users, interactions.items, interactions.ratings, strict=True)
        if not np.isnan(v)
    )
    assert triples(split_ratings(interactions, name, 0)) == wanted
    assert len(wanted) == 56


def test_a_random_split_is_8_1_1_and_repeats_by_its_seed() -> None:
    interactions = make_interactions(n=100)
    first, again, other = (split_ratings(interactions, "random", seed) for seed in (1, 1, 2))
    assert [len(first.train), len(first.validation), len(first.test)] == [80, 10, 10]
    assert np.array_equal(first.test.items, again.test.items)
    assert triples(first) == triples(other)
    assert not np.array_equal(first.test.items, other.test.items)


def test_the_last_rating_of_each_user_is_the_test_one() -> None:
    interactions = make_interactions()
    split = split_ratings(interactions, "leave_one_out", 0)
    last = [int(interactions.history(user)[-1]) for user in range(5)]
    before = [int(interactions.history(user)[-2]) for user in range(5)]
    assert (split.test.items.tolist(), split.validation.items.tolist()) == (last, before)


def test_a_split_by_time_has_nothing_of_the_future_in_training() -> None:
    interactions = make_interactions(n=200)
    times = np.sort(interactions.timestamps)
    split = split_ratings(interactions, "global_time", 0)
    assert len(split.train) == np.searchsorted(times, times[160])
    assert len(split.test) == 200 - np.searchsorted(times, times[180])


def test_what_holds_no_ratings_is_rejected() -> None:
    plain = make_interactions()
    without = Interactions(
        plain.user_ids, plain.item_ids, plain.offsets, plain.items, plain.timestamps, None
    )
    with pytest.raises(InputError, match="have no ratings to predict"):
        split_ratings(without, "random", 0)
    assert plain.ratings is not None
    plain.ratings[:] = 4
    with pytest.raises(InputError, match="all 60 ratings are 4"):
        split_ratings(plain, "random", 0)


def test_a_split_is_saved_and_read(tmp_path: Path) -> None:
    split = split_ratings(make_interactions(), "random", 0)
    split.save(tmp_path)
    assert triples(RatingSplit.load(tmp_path)) == triples(split)
