"""The sequential test: its false alarms, its power, what it is made of."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats

from app.canary.sequential_test import (
    RATIOS_ABOVE,
    RATIOS_BELOW,
    Hits,
    evidence_above,
    evidence_below,
    mean_evidence,
    p_value,
)
from tests.app.canary.simulation import streams

ALPHA = 0.05


def ever_shown(log_evidence: npt.NDArray[np.float64]) -> float:
    """Share of the runs in which the test would have ended at one of the looks."""
    return float((log_evidence >= -np.log(ALPHA)).any(axis=1).mean())


@pytest.mark.parametrize(
    ("rate", "share"), [(0.001, 0.05), (0.01, 0.05), (0.1, 0.05), (0.1, 0.5), (0.6, 0.5)]
)
def test_looking_after_each_answer_raises_no_more_false_alarms_than_stated(
    rate: float, share: float
) -> None:
    shape = (100, 1_500)
    equal = streams((rate, rate), share, shape, seed=1)
    assert ever_shown(evidence_above(*equal)) <= ALPHA
    at_tolerance = streams((rate + 0.01, rate), share, shape, seed=2)
    assert ever_shown(evidence_above(*at_tolerance, 0.01)) <= ALPHA
    assert ever_shown(evidence_below(*at_tolerance, 0.01)) <= ALPHA


def test_a_rate_that_changes_for_both_raises_no_alarm() -> None:
    """Twenty seconds without the store: half of the answers of both versions are errors."""
    random = np.random.default_rng(3)
    rates = np.where(np.arange(120) // 20 == 2, 0.5, 0.001)
    counts = [
        Hits(random.binomial(n, rates).cumsum(1), n.cumsum(1))
        for n in (random.poisson(rate, (500, 120)) for rate in (10, 190))
    ]
    assert ever_shown(evidence_above(*counts)) <= ALPHA


@pytest.mark.parametrize(
    ("share", "rate", "tolerance", "ratios", "sign"),
    [
        (share, rate, tolerance, ratios, sign)
        for share, rate, tolerance in itertools.product(
            [0.01, 0.05, 0.5, 0.95], [0.0, 1e-4, 0.01, 0.3, 0.9], [0.0, 0.001, 0.05]
        )
        for ratios, sign in [(RATIOS_ABOVE, 1), (RATIOS_BELOW, -1)]
        if rate + tolerance <= 1
    ],
)
def test_the_expected_evidence_is_at_most_one_at_the_edge_of_the_hypothesis(
    share: float, rate: float, tolerance: float, ratios: npt.NDArray[np.float64], sign: int
) -> None:
    """By summing over all tables of 100 answers, where the simulation could miss a rare one."""
    n_c = round(100 * share)
    n_a = 100 - n_c
    k_c, k_a = np.meshgrid(np.arange(n_c + 1), np.arange(n_a + 1))
    evidence = evidence_above if sign > 0 else evidence_below
    of_tables = np.exp(evidence(Hits(k_c, n_c + 0 * k_c), Hits(k_a, n_a + 0 * k_a), tolerance))
    probability = stats.binom.pmf(k_c, n_c, rate + tolerance) * stats.binom.pmf(k_a, n_a, rate)
    assert (of_tables * probability).sum() <= 1 + 1e-9


def test_without_a_tolerance_it_is_the_binomial_test_of_where_the_hits_fall() -> None:
    canary, active = Hits(6, 300), Hits(6, 5_700)
    expected = np.mean(
        [
            stats.binom.pmf(6, 12, 0.05 * r / (1 + 0.05 * (r - 1))) / stats.binom.pmf(6, 12, 0.05)
            for r in RATIOS_ABOVE
        ]
    )
    assert evidence_above(canary, active) == pytest.approx(np.log(expected))


def test_power() -> None:
    """5 % of errors against .1 %, in a twentieth of the answers; then equal rates."""
    every = slice(99, None, 100)
    bad = streams((0.05, 0.001), 0.05, (100, 6_000), seed=4)
    assert ever_shown(evidence_above(*(Hits(k[:, every], n[:, every]) for k, n in bad))) == 1.0
    good = streams((0.001, 0.001), 0.05, (40, 24_000), seed=5)
    looks = [Hits(k[:, every], n[:, every]) for k, n in good]
    assert ever_shown(evidence_below(*looks, 0.01)) > 0.9


def test_nothing_counted_shows_nothing() -> None:
    nothing = Hits(0, 0)
    for one, other in [(nothing, nothing), (Hits(5, 9), nothing), (nothing, Hits(5, 9))]:
        for evidence in (evidence_above(one, other, 0.01), evidence_below(one, other, 0.01)):
            assert evidence <= 0.02
            assert p_value(evidence) == pytest.approx(1.0, abs=0.02)


def test_the_mean_of_evidence_is_taken_of_the_evidence_itself() -> None:
    assert mean_evidence(np.log([1.0, 3.0])) == pytest.approx(np.log(2.0))
    assert mean_evidence(np.array([1_000.0, 1_000.0])) == pytest.approx(1_000.0)
