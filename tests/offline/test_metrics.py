from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_store.errors import InputError
from offline import metrics
from offline.data.histories import Histories
from offline.intervals import standard_error
from offline.metrics import (
    UNRANKED,
    coverage_at_k,
    hit_rate_at_k,
    mrr_at_k,
    ndcg_at_k,
    rank_cases,
    rank_targets,
)
from tests.offline.recommender.planted import cases_of


def items(*indices: int) -> np.ndarray:
    return np.array(indices, np.int32)


def rank(scores: list[float], history: np.ndarray, target: int) -> int:
    padded = np.array([[99.0, *scores]], np.float32)
    return int(rank_targets(padded, [history], items(target))[0])


def test_the_rank_counts_the_better_candidates() -> None:
    assert rank([0.1, 0.9, 0.5], items(), 2) == 1
    assert rank([0.1, 0.9, 0.5], items(), 1) == 3


def test_seen_items_and_padding_are_no_candidates() -> None:
    assert rank([0.1, 0.9, 0.5], items(2, 3), 1) == 1


def test_ties_count_against_the_model() -> None:
    assert rank([0.5, 0.5, 0.5, 0.1], items(), 1) == 3
    assert rank([0.5, 0.5, 0.5, 0.1], items(2), 1) == 2


def test_a_target_that_was_seen_before_is_not_recommended() -> None:
    """A default request leaves the history out (`exclude_seen`)."""
    assert rank([0.1, 0.9, 0.5], items(1, 3, 1), 1) == UNRANKED
    assert rank([0.9, 0.1, 0.5], items(1), 1) == UNRANKED
    assert rank([math.inf, 0.1, 0.5], items(1), 1) == UNRANKED


def test_a_model_that_scores_nan_is_rejected() -> None:
    with pytest.raises(InputError, match="NaN"):
        rank([0.1, math.nan, 0.5], items(), 1)


def test_infinite_scores_rank() -> None:
    assert rank([-math.inf, math.inf, 0.0], items(), 2) == 1
    assert rank([-math.inf, math.inf, 0.0], items(), 1) == 3


@st.composite
def ranking_problems(draw):
    n_items = draw(st.integers(1, 8))
    score = st.integers(0, 4).map(float)
    scores = draw(st.lists(score, min_size=n_items, max_size=n_items))
    history = draw(st.lists(st.integers(1, n_items), max_size=10))
    return scores, items(*history), draw(st.integers(1, n_items))


@given(ranking_problems())
def test_the_rank_is_the_one_counted_by_hand(problem) -> None:
    scores, history, target = problem
    candidates = set(range(1, len(scores) + 1)) - set(history.tolist())
    wanted = sum(scores[c - 1] >= scores[target - 1] for c in candidates)
    if target not in candidates:
        wanted = UNRANKED
    assert rank(scores, history, target) == wanted


def test_figures_counted_by_hand() -> None:
    ranks = np.array([1, 3, 10, 11])
    assert hit_rate_at_k(ranks, 10) == 3 / 4
    assert ndcg_at_k(ranks, 10) == pytest.approx((1 + 1 / 2 + 1 / math.log2(11)) / 4)
    assert mrr_at_k(ranks, 10) == pytest.approx((1 + 1 / 3 + 1 / 10) / 4)
    assert hit_rate_at_k(ranks, 1) == 1 / 4
    top = np.array([[1, 2, 0], [2, 5, 7]])
    assert coverage_at_k(top, n_items=8, k=2) == 3 / 8
    assert coverage_at_k(top, n_items=8, k=3) == 4 / 8
    assert standard_error(np.array([0.0, 1.0])) == pytest.approx(0.5)


@pytest.mark.parametrize("k", [1, 10, 10**9])
def test_a_target_that_is_not_recommended_is_a_miss_in_every_metric(k: int) -> None:
    ranks = np.array([UNRANKED, 1])
    figures = [hit_rate_at_k(ranks, k), ndcg_at_k(ranks, k), mrr_at_k(ranks, k)]
    assert figures == [0.5, 0.5, 0.5]


def test_no_cases_have_no_figures() -> None:
    none = np.zeros(0, np.int64)
    figures = [hit_rate_at_k(none), ndcg_at_k(none), mrr_at_k(none), standard_error(none)]
    assert all(math.isnan(figure) for figure in figures)


def test_cases_are_ranked_in_bounded_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    n_items, n_cases = 50, 40
    table = rng.normal(size=(n_items + 1, n_items + 1)).astype(np.float32)
    histories = [items(*rng.integers(1, n_items + 1, 1 + i % 7)) for i in range(n_cases)]
    cases = cases_of(histories, rng.integers(1, n_items + 1, n_cases).tolist())
    sizes: list[int] = []

    def score(batch: Histories) -> np.ndarray:
        sizes.append(len(batch))
        return table[[history[-1] for history in batch]]

    at_once = rank_cases(score, cases, k=5)
    assert sizes == [1, n_cases - 1]
    monkeypatch.setattr(metrics, "_BATCH_BYTES", 7 * table[0].nbytes)
    sizes.clear()
    told: list[int] = []
    in_batches = rank_cases(score, cases, k=5, ranked=told.append)
    assert max(sizes) == 7
    assert told == sizes
    np.testing.assert_array_equal(in_batches.ranks, at_once.ranks)
    for case in range(n_cases):
        scores = score([cases.history(case)])
        wanted = rank_targets(scores, [cases.history(case)], cases.targets[case : case + 1])
        assert at_once.ranks[case] == wanted[0]
        unseen = sorted(set(range(1, n_items + 1)) - set(cases.history(case).tolist()))
        best = sorted(unseen, key=lambda item: -scores[0][item])[:5]
        assert set(at_once.top[case]) == set(best)


def test_a_list_shorter_than_k_is_filled_with_padding() -> None:
    cases = cases_of([items(1, 2)], [3])
    ranking = rank_cases(lambda batch: np.ones((len(batch), 5), np.float32), cases, k=10)
    assert sorted(ranking.top[0].tolist()) == [0] * 8 + [3, 4]
