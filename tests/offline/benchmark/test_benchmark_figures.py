from __future__ import annotations

import numpy as np
import pytest

from offline.benchmark.figures import (
    Groups,
    among_negatives,
    describe_entry,
    paired_gain,
    rare_items,
)
from offline.data.split import Cases
from offline.intervals import uncertainty_of
from offline.metrics import UNRANKED


def cases_of(histories: list[list[int]], targets: list[int]) -> Cases:
    offsets = np.cumsum([0, *map(len, histories)]).astype(np.int64)
    items = np.array([item for history in histories for item in history], dtype=np.int32)
    users = np.arange(len(targets), dtype=np.int32)
    return Cases(users, offsets, items, np.array(targets, dtype=np.int32))


@pytest.mark.parametrize(
    ("rank", "candidates"), [(1, 500), (7, 500), (60, 500), (400, 500), (30, 80), (1, 1), (3, 3)]
)
def test_negatives_equal_the_mean_of_many_draws(rank: int, candidates: int) -> None:
    [hit], [gain] = among_negatives(np.array([rank]), np.array([candidates]))
    rng = np.random.default_rng(0)
    n_drawn = min(100, candidates - 1)
    ahead = rng.hypergeometric(rank - 1, candidates - rank, n_drawn, size=200_000)
    drawn_hits = ahead < 10
    assert hit == pytest.approx(drawn_hits.mean(), abs=0.004)
    assert gain == pytest.approx((drawn_hits / np.log2(2 + ahead)).mean(), abs=0.004)


def test_groups_leave_out_nothing_and_count_candidates() -> None:
    counts = np.array([0, 1, 1, 50, 48])
    assert rare_items(counts).tolist() == [False, True, True, False, False]
    cases = cases_of([[1], [1, 2, 2], [3, 4], [4, 3, 1], [2]], [3, 1, 2, 4, 2])
    groups = Groups.of_cases(cases, counts)
    assert groups.of["rare"].tolist() == [False, True, True, False, True]
    assert groups.of["tail"].sum() == 1
    # What was seen is no candidate, be it the target.
    assert groups.n_candidates.tolist() == [3, 2, 2, 1, 3]


def test_a_target_that_is_not_recommended_is_a_miss_among_negatives() -> None:
    ranks, candidates = np.array([UNRANKED, 1, UNRANKED]), np.array([500, 500, 0])
    hit, gain = among_negatives(ranks, candidates)
    assert hit.tolist() == gain.tolist() == [0.0, 1.0, 0.0]


def test_an_entry_is_the_mean_of_its_seeds() -> None:
    cases = cases_of([[1]] * 4, [2, 2, 2, 2])
    groups = Groups.of_cases(cases, np.array([0, 5, 5, 90, 0, 0]))
    figures = describe_entry([np.array([1, 11, 11, 11]), np.array([1, 1, 1, 11])], groups)
    assert figures["seeds"] == 2
    assert figures["all"]["hit_rate_at_10"] == 0.5
    assert figures["all"]["ndcg_at_10_of_seeds"] == [0.25, 0.75]


def test_pairing_removes_the_variation_between_users() -> None:
    rng = np.random.default_rng(1)
    ranks = rng.integers(1, 30, (2, 400))
    worse = ranks + 1
    chosen = np.ones(400, bool)
    gain = paired_gain(list(ranks), list(worse), chosen)
    assert 0 < gain["from"] < gain["ndcg_at_10"] < gain["to"]
    unpaired = rng.permuted(worse, axis=1)
    wide = paired_gain(list(ranks), list(unpaired), chosen)
    assert wide["to"] - wide["from"] > 2 * (gain["to"] - gain["from"])
    one = paired_gain(list(ranks), [worse[0]], chosen)
    assert np.isfinite(one["ndcg_at_10"])


def test_seeds_that_differ_widen_the_error() -> None:
    values = np.random.default_rng(2).normal(size=(3, 500))
    apart = values + np.array([[-1.0], [0.0], [1.0]])
    assert uncertainty_of(apart).standard_error > 5 * uncertainty_of(values).standard_error


def test_an_interval_is_as_wide_as_what_differs_is_many() -> None:
    rng = np.random.default_rng(3)
    users = rng.normal(size=(3, 500))
    one, three = uncertainty_of(users[:1]), uncertainty_of(users + np.array([[-9.0], [0.0], [9.0]]))
    assert one.margin == pytest.approx(1.96 * one.standard_error, rel=0.01)
    assert three.margin == pytest.approx(4.303 * three.standard_error, rel=0.01)
    assert np.isnan(uncertainty_of(users[:, :1]).margin)
    assert uncertainty_of(np.ones((2, 4))).margin == 0.0


@pytest.mark.parametrize("seed_sd", [0.0, 0.05, 0.3])
def test_intervals_cover_the_mean_about_as_often_as_stated(seed_sd: float) -> None:
    rng = np.random.default_rng(4)
    held = 0
    for _ in range(1000):
        users, seeds = rng.normal(size=200), rng.normal(scale=seed_sd, size=(3, 1))
        values = users + seeds + rng.normal(scale=0.5, size=(3, 200))
        held += abs(values.mean()) <= uncertainty_of(values).margin
    assert 0.91 <= held / 1000 <= 0.98
