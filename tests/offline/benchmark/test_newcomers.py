"""Users whom the training did not know."""

from __future__ import annotations

import numpy as np
import pytest

from model_store.errors import InputError
from offline.benchmark.newcomers import _folds, describe, measure
from offline.data.split import Split
from offline.recipe import read_recipe
from tests.offline.recommender.planted import cases_of

N_ITEMS, GROUPS, N_USERS = 30, 3, 60
TRAINED = 6


def grouped() -> Split:
    """Everybody takes items of one third of the catalogue; the first user took too few."""
    rng, size = np.random.default_rng(0), N_ITEMS // GROUPS
    rows = [
        (rng.permutation(size)[: TRAINED + 1] + 1 + size * (user % GROUPS)).astype(np.int32)
        for user in range(N_USERS)
    ]
    rows[0] = rows[0][:4]
    cases = cases_of([row[:-1] for row in rows], [int(row[-1]) for row in rows])
    offsets = np.cumsum([0, *(len(row) - 1 for row in rows)])
    return Split(offsets.astype(np.int64), np.concatenate([row[:-1] for row in rows]), cases, cases)


def test_a_held_out_user_is_in_no_part_of_the_training() -> None:
    split = grouped()
    measured = []
    for training, cases in _folds(split, N_ITEMS, folds=4, length=5):
        known = {tuple(row) for row in training.sequences}
        for case, user in enumerate(cases.users.tolist()):
            whole = split.train_history(user)
            assert tuple(whole) not in known
            assert cases.history(case).tolist() == whole[:5].tolist()
            assert cases.targets[case] == whole[5]
        assert training.validation is not None
        assert not set(training.validation.users.tolist()) & set(cases.users.tolist())
        assert len(training.sequences) + len(cases) in (N_USERS, N_USERS - 1)
        measured += cases.users.tolist()
    assert sorted(measured) == list(range(1, N_USERS))


def test_they_get_items_of_their_group_and_popularity_knows_none() -> None:
    recipe = read_recipe("mf").with_changes(
        direct={"embedding_size": 8, "epochs": 12, "batch_size": 64, "learning_rate": 0.05}
    )
    served = measure(grouped(), N_ITEMS, recipe, seeds=(0, 1), folds=2, length=5)
    assert served.ndcg["recommender"].shape == (2, N_USERS - 1)
    # Two of five items that are left of the group are hits of few, ten of thirty at random.
    assert served.hit_rate["recommender"].mean() > 0.9
    assert served.hit_rate["popularity"].mean() < 0.6
    lines = [*describe(served)]
    assert [line.partition(":")[0] for line in lines] == ["NDCG@10", "HR@10"]
    gain = float(lines[1].partition("(+")[2].partition(" ")[0])
    assert gain > 0


def test_users_who_are_all_too_short_are_named() -> None:
    with pytest.raises(InputError, match="no user has more than 6 training interactions"):
        measure(grouped(), N_ITEMS, read_recipe("mf"), seeds=(0,), folds=2, length=6)
