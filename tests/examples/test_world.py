"""The simulated world keeps the probabilities that it states."""

from __future__ import annotations

import numpy as np
import pytest

from examples.loop.world import MATCH, OTHER, SHIFTING, World, attention

WORLD = World(users=4000, items=40, kinds=4, days=6, earlier_days=2, seed=3)


def test_clicks_have_the_stated_probability() -> None:
    liking, draws = WORLD.liking(0), WORLD.would_click(0)
    shown = list(range(5))
    clicks = np.zeros((WORLD.users, 5))
    for user in range(WORLD.users):
        clicks[user, [rank - 1 for rank in WORLD.clicks(user, shown, liking, draws)]] = 1
    expected = liking[:, :5] * [attention(rank) for rank in range(1, 6)]
    error = np.sqrt((expected * (1 - expected)).sum(0)) / WORLD.users
    assert (np.abs(clicks.mean(0) - expected.mean(0)) < 4 * error).all()


def test_tastes_shift_half_way_and_for_some_alone() -> None:
    before, after = WORLD.best_kind(WORLD.shift_day - 1), WORLD.best_kind(WORLD.shift_day)
    assert ((before != after) == WORLD.shifts).all()
    assert WORLD.shifts.mean() == pytest.approx(SHIFTING, abs=0.03)
    user = int(np.flatnonzero(WORLD.shifts)[0])
    old, new = WORLD.kind == before[user], WORLD.kind == after[user]
    then = WORLD.liking(WORLD.shift_day)[user]
    assert then[new] == pytest.approx(MATCH * WORLD.appeal[new])
    assert then[old] == pytest.approx(OTHER * WORLD.appeal[old])


def test_a_world_follows_from_its_seed() -> None:
    again = World(users=4000, items=40, kinds=4, days=6, earlier_days=2, seed=3)
    other = World(users=4000, items=40, kinds=4, days=6, earlier_days=2, seed=4)
    assert again.found(-1) == WORLD.found(-1)
    assert other.found(-1) != WORLD.found(-1)
    assert (again.visitors(2) == WORLD.visitors(2)).all()
