"""Estimates from logs hold a simulator's truth, and are not told where they could not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from offline.logged.click_model import fit_clicks
from offline.logged.estimates import Estimate, estimates_of
from offline.logged.explored import Explored
from offline.logged.page import show_estimates
from offline.logged.ratio import ratio_of
from offline.logged.target import Behaviour, follow
from tests.offline.logged.simulator import N_ITEMS, World, held

WORLD = World.of()


def judged(world: World, explored: Explored, behaviour: Behaviour) -> list[Estimate]:
    return estimates_of(explored, behaviour, fit_clicks(explored, N_ITEMS))


def test_intervals_hold_the_truth_of_a_simulator() -> None:
    shares = held(WORLD, n_runs=40, n_users=500)
    # 300 runs, of which docs/log/evaluation.md tells, are within 93 to 97 %; of 40 runs with
    # intervals that hold the truth in 95 %, fewer than 34 do with a probability of .003.
    for name in ("ips 1", "snips 1", "dr 1", "ips 2", "snips 2", "dr 2"):
        assert shares[name] >= 34 / 40, (name, shares)
    assert shares["told 1"] == shares["told 2"] == 1.0


def test_what_was_shown_differs_from_what_the_other_would_get() -> None:
    truth = WORLD.truth()
    for estimate in WORLD.estimate(4_000, seed=5)[:2]:
        values = estimate.values
        assert values is not None
        true_value = truth[estimate.n_ranks - 1]
        assert estimate.logged.high < true_value  # the plain rate of the log is not the answer
        assert values.gain.low > 0
        assert values.gain.value == pytest.approx(values.dr.value - estimate.logged.value)
        width = values.dr.high - values.dr.low
        assert width < values.ips.high - values.ips.low
        assert abs(values.dr.value - true_value) < width


def test_the_policy_that_drew_gets_what_it_got() -> None:
    explored, kinds = WORLD.log(500, seed=1)
    clicks = fit_clicks(explored, N_ITEMS)
    multipliers = clicks.multipliers[explored.folds]
    behaviour = follow(WORLD.logged[kinds], explored.items, multipliers, greedy=False)
    for estimate in estimates_of(explored, behaviour, clicks):
        assert estimate.values is not None
        assert estimate.n_effective == pytest.approx(len(explored))
        assert estimate.values.ips == estimate.values.snips == estimate.logged


def test_few_effective_exposures_are_not_enough() -> None:
    *_, last = World.of(greedy=True).estimate(2_000, seed=3)
    assert last.values is None
    assert last.why_not is not None
    assert last.why_not.startswith(f"effective sample size {last.n_effective:.1f} of ")
    assert last.why_not.endswith("and 300 are needed")


def test_items_that_were_never_drawn_are_noticed() -> None:
    # A third of what the other policy would show is nothing that was ever drawn.
    explored, kinds = WORLD.log(2_000, seed=2)
    ones = np.ones((len(explored), N_ITEMS + 1))
    behaviour = follow(WORLD.logged[kinds], explored.items, ones, greedy=False)
    missing = replace(behaviour, log_probabilities=behaviour.log_probabilities + np.log(2 / 3))
    first, *_ = judged(WORLD, explored, missing)
    assert first.values is None
    weight = "mean weight 0.667 (0.667 to 0.667)"
    assert first.why_not == f"{weight}: the bundle would show items that were never drawn"
    wrong = replace(behaviour, log_probabilities=behaviour.log_probabilities + np.log(1.5))
    first, *_ = judged(WORLD, explored, wrong)
    assert first.why_not is not None
    assert "the logged propensities are not those of the answers" in first.why_not


def test_intervals_include_what_is_never_drawn() -> None:
    # What one kind of people would mostly be shown: 4 % of all that the other policy shows.
    logged = WORLD.logged.copy()
    logged[0, np.argsort(-WORLD.target[0])[:3]] = -np.inf
    world = replace(WORLD, logged=logged)
    shares = held(world, n_runs=20, n_users=2_000)
    assert shares["told 1"] == 1.0
    # Without it they hold the truth in 12, 17 and 17 of the runs.
    for name in ("ips 1", "snips 1", "dr 1"):
        assert shares[name] >= 18 / 20, (name, shares)
    first, *_ = world.estimate(6_000, seed=1)
    assert first.missing == pytest.approx(1 - first.mean_weight.value)
    assert 0.02 < first.missing < 0.06


def test_what_floats_are_off_is_no_share_of_rankings() -> None:
    explored, kinds = WORLD.log(500, seed=1)
    ones = np.ones((len(explored), N_ITEMS + 1))
    behaviour = follow(WORLD.logged[kinds], explored.items, ones, greedy=False)
    for missing, expected in ((1e-7, 0.0), (4e-4, 0.0), (6e-4, 6e-4)):
        less = behaviour.log_probabilities + np.log1p(-missing)
        first, *_ = judged(WORLD, explored, replace(behaviour, log_probabilities=less))
        assert first.mean_weight.value == pytest.approx(1 - missing, abs=1e-9)
        assert first.missing == pytest.approx(expected)
        assert ("never drawn" in show_estimates("v1", 0.0, [first])) == (expected > 0)


def test_few_clicks_are_not_enough() -> None:
    explored, kinds = WORLD.log(2_000, seed=7)
    ones = np.ones((len(explored), N_ITEMS + 1))
    behaviour = follow(WORLD.logged[kinds], explored.items, ones, greedy=False)
    for n_clicks in (0, 5, 200):
        clicks = np.zeros_like(explored.clicks)
        clicks[:: len(clicks) // max(1, n_clicks), 0] = n_clicks > 0
        first, *_ = judged(WORLD, replace(explored, clicks=clicks), behaviour)
        assert (first.values is None) == (first.n_clicked < 20) == (n_clicks < 20)
        if first.why_not is not None:
            users = f"effective number of users with clicks {first.n_clicked:.1f}"
            assert first.why_not == f"{users}, and 20 are needed"


def test_few_users_are_not_enough() -> None:
    first, *_ = WORLD.estimate(25, seed=4)
    assert first.values is None
    assert first.why_not == f"{first.n_users} users with such answers, and 30 are needed"


def test_ranks_that_were_not_drawn_are_left_out() -> None:
    explored, kinds = WORLD.log(1_000, seed=6)
    half = np.arange(len(explored)) % 2 == 0
    # Half of the answers had one rank drawn; a quarter has no more than that one.
    short = half & (np.arange(len(explored)) % 4 == 0)
    explored = replace(
        explored,
        n_drawn=np.where(half, 1, 3),
        n_shown=np.where(short, 1, 3),
        clicks=np.where(short[:, None] & (np.arange(3) > 0), 0.0, explored.clicks),
    )
    ones = np.ones((len(explored), N_ITEMS + 1))
    behaviour = follow(WORLD.logged[kinds], explored.items, ones, greedy=False)
    found = judged(WORLD, explored, behaviour)
    kept = len(explored) - int((half & ~short).sum())
    assert [one.n_exposures for one in found] == [len(explored), kept, kept]
    for one in found:
        assert one.mean_weight.value == pytest.approx(1.0)


def test_a_ratio_is_told_between_users() -> None:
    users = np.array([0, 0, 1, 2, 2, 2])
    clicks = np.array([1.0, 0.0, 1.0, 0.0, 0.0, 1.0])
    ratio = ratio_of(clicks, np.ones(6), users)
    assert (ratio.value, ratio.n_users) == (0.5, 3)
    # Residuals 0, .5 and -.5 of the users' sums: variance 3/2 · .5 / 36; t(2) at .975 is 4.3027.
    assert ratio.high - ratio.value == pytest.approx(4.30265 * np.sqrt(1.5 * 0.5) / 6, rel=1e-5)
    assert not ratio_of(clicks, np.ones(6), np.zeros(6, dtype=np.int64)).has_interval
    assert np.isnan(ratio_of(np.zeros(0), np.zeros(0), np.zeros(0, dtype=np.int64)).value)
