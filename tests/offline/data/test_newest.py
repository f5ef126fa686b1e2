"""What a running model hasn't seen, and which of it is held out."""

from __future__ import annotations

import numpy as np
import pytest

from model_store.codecs import UserHistory
from model_store.id_map import IdMap
from offline.data import newest
from offline.data.interactions import Interactions
from offline.data.newest import MAX_CASES_PER_USER, find_new, hold_newest_out

IDS = IdMap([f"i{n}" for n in range(1, 9)])


def interactions(rows: list[tuple[int, int, float]], n_users: int = 3) -> Interactions:
    users, items, times = (np.array(column) for column in zip(*rows, strict=True))
    return Interactions.from_rows([f"u{n}" for n in range(n_users)], IDS, users, items, times)


def history(*pairs: tuple[int, float]) -> UserHistory:
    items, times = zip(*pairs, strict=True)
    return UserHistory(np.array(items, np.int32), np.array(times, np.float64))


def test_the_same_user_item_and_second_were_seen() -> None:
    found = interactions([(0, 1, 5.25), (0, 2, 6.0), (1, 1, 5.25), (2, 3, 7.0)])
    # The running bundle numbers other items first, and knows nobody named u2.
    known = IdMap(["elsewhere", "i2", "i1"])
    old = [("u0", history((3, 5.0), (2, 9.0))), ("u1", history((3, 5.9))), ("u9", history((1, 5)))]
    assert find_new(found, old, known).tolist() == [False, True, False, True]


def test_without_users_in_the_bundle_everything_is_new() -> None:
    assert find_new(interactions([(0, 1, 1.0), (1, 2, 2.0)]), [], IDS).all()


def test_the_newest_are_held_out_and_all_that_is_old_trains() -> None:
    rows = [(0, 1, 1.0), (0, 2, 99.0), (1, 3, 2.0)]  # old; one of them is later than all new ones
    rows += [(0, 3, 10.0), (1, 4, 11.0), (0, 5, 12.0), (2, 6, 13.0), (0, 6, 14.0), (1, 7, 15.0)]
    rows += [(0, 7, 16.0), (1, 8, 17.0), (0, 8, 18.0), (1, 1, 19.0)]
    found = interactions(rows)
    is_new = (found.timestamps >= 10) & (found.timestamps < 20)
    split, cuts = hold_newest_out(found, is_new, 0.2)
    assert (cuts.validation_from, cuts.test_from) == (16.0, 18.0)
    trained = [split.train_history(user).tolist() for user in range(3)]
    assert trained == [[1, 3, 5, 6, 2], [3, 4, 7], [6]]
    assert split.validation.targets.tolist() == [7, 8]
    assert split.validation.users.tolist() == [0, 1]
    assert split.test.targets.tolist() == [8, 1]
    # A test history has what was held out to choose the epoch, and nothing that is later.
    assert split.test.history(0).tolist() == [1, 3, 5, 6, 7]
    assert split.test.history(1).tolist() == [3, 4, 7, 8]


def test_no_held_out_interaction_is_in_the_training_part() -> None:
    random = np.random.default_rng(0)
    rows = [(int(random.integers(3)), int(random.integers(1, 9)), float(n)) for n in range(200)]
    found = interactions(rows)
    is_new = found.timestamps >= 100
    split, cuts = hold_newest_out(found, is_new, 0.2)
    users = np.repeat(np.arange(3), np.diff(found.offsets))
    for user in range(3):
        rows_of = (users == user) & (found.timestamps < cuts.validation_from)
        assert split.train_history(user).tolist() == found.items[rows_of].tolist()


def test_a_user_makes_some_cases_and_a_first_interaction_none() -> None:
    rows = [(0, 1, 1.0)] + [(0, 1 + n % 8, 10.0 + n) for n in range(100)] + [(1, 2, 109.0)]
    found = interactions(rows)
    split, _ = hold_newest_out(found, found.timestamps >= 10, 0.4)
    assert np.bincount(split.test.users).tolist() == [MAX_CASES_PER_USER]
    assert np.bincount(split.validation.users).tolist() == [MAX_CASES_PER_USER]
    assert len(split.test.history(0)) + 1 == len(split.test.history(1))


def test_nothing_new_gives_no_cases() -> None:
    found = interactions([(0, 1, 1.0), (0, 2, 2.0)])
    split, cuts = hold_newest_out(found, np.zeros(2, dtype=bool), 0.2)
    assert len(split.test) == len(split.validation) == 0
    assert np.isnan(cuts.test_from)
    assert split.train_history(0).tolist() == [1, 2]


def test_weights_go_with_what_trains() -> None:
    found = interactions([(0, 1, 1.0), (0, 2, 2.0), (0, 3, 3.0), (0, 4, 4.0)])
    weighted = Interactions(**{**vars(found), "weights": np.array([1, 2, 3, 4], np.float32)})
    split, _ = hold_newest_out(weighted, found.timestamps > 1, 0.4)
    assert split.train_weights is not None
    assert split.train_items.tolist() == [1]
    assert split.train_weights.tolist() == [1.0]


def test_of_many_users_some_are_drawn_with_all_their_cases(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(newest, "MAX_TEST_USERS", 5)
    rows = [(user, 1 + step, 100.0 * step + user) for user in range(20) for step in range(4)]
    found = interactions(rows, n_users=20)
    split, cuts = hold_newest_out(found, found.timestamps >= 100, 0.45)
    counts = np.bincount(split.test.users)
    assert (counts > 0).sum() == 5
    assert len(np.unique(split.validation.users)) > 5
    again, _ = hold_newest_out(found, found.timestamps >= 100, 0.45)
    assert again.test.users.tolist() == split.test.users.tolist()
    # Who was not drawn trains no more for it.
    assert len(split.train_items) == (found.timestamps < cuts.validation_from).sum()
