"""Laws that hold for every split of every data set."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_store.errors import ConfigError, InputError
from model_store.id_map import IdMap
from offline.data.interactions import Interactions
from offline.data.split import Cases, Split, draw_users, global_time, leave_one_out

N_USERS, N_ITEMS = 6, 9


@st.composite
def interactions(draw) -> Interactions:
    n = draw(st.integers(1, 60))
    users = draw(st.lists(st.integers(0, N_USERS - 1), min_size=n, max_size=n))
    items = draw(st.lists(st.integers(1, N_ITEMS), min_size=n, max_size=n))
    times = draw(st.lists(st.integers(0, 12), min_size=n, max_size=n))
    return Interactions.from_rows(
        [f"u{u}" for u in range(N_USERS)],
        IdMap([f"i{i}" for i in range(N_ITEMS)]),
        np.array(users),
        np.array(items),
        np.array(times, dtype=np.float64),
    )


def by_case(cases: Cases) -> dict[int, tuple[list[int], int]]:
    return {
        int(user): (cases.history(c).tolist(), int(cases.targets[c]))
        for c, user in enumerate(cases.users)
    }


@given(interactions())
def test_leave_one_out_takes_the_last_two_of_each_user(data):
    split = leave_one_out(data)
    validation, test = by_case(split.validation), by_case(split.test)
    for user in range(data.n_users):
        row = data.history(user).tolist()
        if len(row) < 3:
            assert split.train_history(user).tolist() == row
            assert user not in validation
            assert user not in test
            continue
        assert split.train_history(user).tolist() == row[:-2]
        assert validation[user] == (row[:-2], row[-2])
        assert test[user] == (row[:-1], row[-1])


shares = st.sampled_from([0.05, 0.1, 0.3, 0.45])


@given(interactions(), shares, shares)
def test_global_time_cuts_all_users_at_the_same_times(data, validation_share, test_share):
    if len(set(data.timestamps)) < 2:
        with pytest.raises(InputError, match="all of one time"):
            global_time(data, validation_share, test_share)
        return
    split = global_time(data, validation_share, test_share)
    validation, test = by_case(split.validation), by_case(split.test)
    trained, first_targets, before_tests, test_times = [], [], [], []
    for user in range(data.n_users):
        row = data.history(user).tolist()
        times = data.timestamps[data.offsets[user] : data.offsets[user + 1]]
        train = split.train_history(user).tolist()
        assert train == row[: len(train)]
        trained += times[: len(train)].tolist()
        if user in validation:
            history, target = validation[user]
            assert history == train
            assert history
            assert target == row[len(history)]
            first_targets.append(times[len(history)])
        if user in test:
            history, target = test[user]
            assert history == row[: len(history)]
            assert history
            assert target == row[len(history)]
            before_tests += times[: len(history)].tolist()
            test_times.append(times[len(history)])
    # No interaction after any target is trained on or shown.
    assert max(trained, default=-1) < min([*first_targets, *test_times], default=99)
    assert max([*first_targets, *before_tests], default=-1) < min(test_times, default=99)


def test_global_time_gives_about_the_shares_asked_for():
    n = 1000
    data = Interactions.from_rows(
        ["u"], IdMap(["i"]), np.zeros(n, int), np.ones(n, int), np.arange(n, dtype=float)
    )
    split = global_time(data, validation_share=0.2, test_share=0.1)
    assert len(split.train_items) == 700
    assert len(split.test.history(0)) == 900


@pytest.mark.parametrize("shares", [(0, 0.1), (0.1, 0), (-0.1, 0.2), (0.5, 0.5)])
def test_global_time_rejects_shares_that_leave_nothing(shares):
    data = Interactions.from_rows(
        ["u"], IdMap(["i"]), np.zeros(2, int), np.ones(2, int), np.arange(2, dtype=float)
    )
    with pytest.raises(ConfigError, match="validation_share"):
        global_time(data, *shares)


@settings(max_examples=20)  # each waits for the disk
@given(interactions())
def test_arrays_have_their_dtypes_and_a_saved_split_is_the_same(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("law")
    split = leave_one_out(data)
    split.save(folder)
    loaded = Split.load(folder)
    for part, again in (
        (split, loaded),
        (split.validation, loaded.validation),
        (split.test, loaded.test),
    ):
        for name, array in vars(part).items():
            if isinstance(array, np.ndarray):
                np.testing.assert_array_equal(array, getattr(again, name))
                assert array.dtype == (np.int64 if "offsets" in name else np.int32), name


@settings(max_examples=20)  # each waits for the disk
@given(interactions())
def test_saved_interactions_are_the_same(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("law")
    data.save(folder)
    loaded = Interactions.load(folder)
    assert loaded.user_ids == data.user_ids
    assert loaded.item_ids == data.item_ids
    assert loaded.ratings is None
    for name in ("offsets", "items", "timestamps"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(data, name))
    assert data.n_users == N_USERS
    assert data.n_items == N_ITEMS
    assert len(data) == data.offsets[-1]


def test_a_missing_split_is_rejected(tmp_path):
    with pytest.raises(InputError, match=r"train_offsets\.npy"):
        Split.load(tmp_path)


def test_a_larger_draw_of_users_holds_a_smaller_one():
    few, more = draw_users(50, 10), draw_users(50, 20)
    assert (few.sum(), more.sum()) == (10, 20)
    assert not (few & ~more).any()
    assert not np.array_equal(np.flatnonzero(few), np.arange(10))
    assert draw_users(50, None).all()
    assert draw_users(50, 60).all()
