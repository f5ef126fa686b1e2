"""The best items, found in blocks, are those of a sorted catalogue."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from offline.recommend_all import best_items
from offline.recommend_all.best_items import BestItems, Items, Pairs, Vectors


def pairs(rows: list[list[int]]) -> Pairs:
    return Pairs.of([np.array(row, np.int32) for row in rows])


def sort_all(table: Vectors, users: Vectors, excluded: list[list[int]], k: int) -> Items:
    """The k best by sorting all scores, ties to the lower item; 0 where there are no more."""
    best = np.zeros((len(users), k), np.int32)
    for row, (user, items) in enumerate(zip(users, excluded, strict=True)):
        scores = table @ user
        scores[[0, *items]] = -np.inf
        order = np.argsort(-scores, kind="stable")[:k]
        order = order[scores[order] > -np.inf]
        best[row, : len(order)] = order
    return best


@given(data=st.data())
def test_they_are_those_of_a_sorted_catalogue(data: st.DataObject) -> None:
    """Vectors of small whole numbers, whose products are exact, and tie often."""
    n_items = data.draw(st.integers(1, 400))
    n_users, k = data.draw(st.integers(1, 20)), data.draw(st.sampled_from([1, 3, 10, 500]))
    rng = np.random.default_rng(data.draw(st.integers(0, 10**6)))
    table = rng.integers(-3, 4, (n_items + 1, 4)).astype(np.float32)
    if data.draw(st.booleans()):  # each block beats all before it
        table = table[np.argsort(table.sum(axis=1), kind="stable")]
    table[0] = 9
    users = rng.integers(-3, 4, (n_users, 4)).astype(np.float32)
    excluded = [
        rng.integers(1, n_items + 1, rng.integers(0, min(n_items, 60))).tolist()
        for _ in range(n_users)
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(best_items, "_ITEMS_AT_ONCE", 64)
        patch.setattr(best_items, "_USERS_AT_ONCE", 8)
        items, scores = BestItems(table, k).find(users, pairs(excluded))
    np.testing.assert_array_equal(items, sort_all(table, users, excluded, k))
    found = items > 0
    exact = np.einsum("pd,pd->p", table[items[found]], users[found.nonzero()[0]])
    np.testing.assert_array_equal(scores[found], exact)
    assert (scores[~found] == -np.inf).all()


def test_equal_rows_tie_wherever_they_stand() -> None:
    """Near the edges of a product sums have another order: equal rows differ in their last bits."""
    rng = np.random.default_rng(0)
    n_items = 2 * best_items._ITEMS_AT_ONCE + 7
    table = rng.standard_normal((n_items + 1, 67)).astype(np.float32)
    equal = np.array([1, 2, 8, 9, 23, 24, 4_096, 4_097, 4_100, 8_192, 8_193, n_items])
    table[equal] = 4 * rng.standard_normal(67).astype(np.float32)
    users = rng.standard_normal((best_items._USERS_AT_ONCE + 3, 67)).astype(np.float32)
    users[:, 0] += 100 * np.sign(table[1, 0])
    items, scores = BestItems(table, 10).find(users, pairs([[]] * len(users)))
    np.testing.assert_array_equal(items, np.tile(equal[:10], (len(users), 1)))
    assert (scores == scores[:, :1]).all()


def test_of_a_catalogue_of_equal_rows_the_first_items_are_best() -> None:
    table = np.tile(np.float32([1.1, 2.3, 3.7]), (9_001, 1))
    users = np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32)
    items, _ = BestItems(table, 3).find(users, pairs([[2]] * 5))
    np.testing.assert_array_equal(items, [[1, 3, 4]] * 5)


def test_a_score_that_is_no_number_is_no_items() -> None:
    table = np.ones((6, 2), np.float32)
    table[2] = np.nan
    items, _ = BestItems(table, 4).find(np.ones((1, 2), np.float32), pairs([[1]]))
    np.testing.assert_array_equal(items, [[3, 4, 5, 0]])


def test_nobody_gets_nothing() -> None:
    items, scores = BestItems(np.ones((6, 2), np.float32), 4).find(
        np.zeros((0, 2), np.float32), pairs([])
    )
    assert items.shape == scores.shape == (0, 4)
