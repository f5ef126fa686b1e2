"""Users folded in from the items of a history."""

from __future__ import annotations

import numpy as np
import pytest

from offline.direct.fold_in import PENALTIES, FoldIn, choose_fold_in

RNG = np.random.default_rng(0)
TABLE = np.vstack([np.zeros((1, 4)), RNG.standard_normal((12, 4))]).astype(np.float32)
HISTORIES = [np.array(row, np.int32) for row in ([1, 4, 7], [2], [12, 3, 5, 6])]
USERS = 5 * RNG.standard_normal((3, 4)).astype(np.float32)


@pytest.mark.parametrize("penalty", [0.01, 1.0])
def test_a_user_is_the_ridge_regression_of_each_items_share_in_the_history(penalty: float) -> None:
    fold_in = FoldIn.of(TABLE, USERS, HISTORIES, penalty)
    ridge = penalty * float(np.square(TABLE).sum()) / 4
    shares = np.zeros((13, 3))
    for user, history in enumerate(HISTORIES):
        shares[history, user] = 1 / len(history)
    # As ordinary least squares, with the penalty as four more rows.
    inputs = np.vstack([TABLE, np.sqrt(ridge) * np.eye(4)])
    wanted = np.linalg.lstsq(inputs, np.vstack([shares, np.zeros((4, 3))]), rcond=None)[0].T
    found = fold_in.users(TABLE, HISTORIES)
    scale = np.linalg.norm(found) / np.linalg.norm(wanted)
    np.testing.assert_allclose(found, wanted * scale, rtol=1e-4)


def test_scores_are_as_large_as_those_of_the_trained_users() -> None:
    folded = FoldIn.of(TABLE, USERS, HISTORIES, 0.1).users(TABLE, HISTORIES)
    assert np.linalg.norm(folded) == pytest.approx(np.linalg.norm(USERS), rel=1e-5)


def test_with_the_largest_penalty_a_user_is_the_direction_of_the_items_mean() -> None:
    folded = FoldIn.of(TABLE, USERS, HISTORIES, PENALTIES[-1]).users(TABLE, HISTORIES)
    means = np.stack([TABLE[history].mean(axis=0) for history in HISTORIES])
    cosines = (folded * means).sum(axis=1)
    cosines /= np.linalg.norm(folded, axis=1) * np.linalg.norm(means, axis=1)
    np.testing.assert_allclose(cosines, 1.0, atol=1e-4)


def test_an_empty_history_is_nowhere() -> None:
    folded = FoldIn.of(TABLE, USERS, HISTORIES, 1.0).users(TABLE, [np.zeros(0, np.int32)])
    assert folded.tolist() == [[0.0] * 4]


def test_the_penalty_with_the_highest_figure_is_chosen_and_the_smallest_of_equal_ones() -> None:
    figures = dict(zip(PENALTIES, (0.1, 0.3, 0.3, 0.2, 0.0), strict=True))
    chosen = choose_fold_in(
        lambda penalty: FoldIn(np.eye(2, dtype=np.float32), penalty),
        lambda fold_in: figures[fold_in.penalty],
    )
    assert chosen.penalty == PENALTIES[1]
