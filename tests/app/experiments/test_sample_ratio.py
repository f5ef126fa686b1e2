"""The check of an experiment's split."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import stats

from app.experiments.sample_ratio import LEVEL, check_sample_ratio, chi_square_p
from model_store.errors import InputError

WANTED = {"a": 2.0, "b": 1.0, "c": 1.0}


def test_an_unequal_split_is_noticed() -> None:
    check = check_sample_ratio({"a": 5_000, "b": 5_400}, {"a": 1, "b": 1})
    assert check.noticed
    assert check.reason == "split not as wanted: a 5,000 of 5,200, b 5,400 of 5,200; p < 0.001"


def test_an_equal_split_is_as_wanted() -> None:
    check = check_sample_ratio({"a": 5_000, "b": 5_100}, {"a": 1, "b": 1})
    assert not check.noticed
    assert check.reason == "split as wanted: a 5,000 of 5,050, b 5,100 of 5,050; p = 0.320"


def test_the_probability_is_that_of_scipy() -> None:
    users = {"a": 1_930, "b": 1_050, "c": 1_020}
    expected = stats.chisquare([1_930, 1_050, 1_020], [2_000, 1_000, 1_000]).pvalue
    assert check_sample_ratio(users, WANTED).p == pytest.approx(expected)


@pytest.mark.parametrize("degrees", [1, 2, 3, 4, 7, 12, 50])
def test_the_chi_square_distribution_is_that_of_scipy(degrees: int) -> None:
    for statistic in (0.0, 1e-9, 0.1, 1.0, 7.0, 40.0, 900.0):
        expected = stats.chi2.sf(statistic, degrees)
        assert chi_square_p(statistic, degrees) == pytest.approx(expected, rel=1e-9)
    assert chi_square_p(1e6, degrees) == 0.0


def test_simulated_splits() -> None:
    """Right ones are noticed as often as the level says, wrong ones nearly always."""
    random = np.random.default_rng(1)
    noticed = {}
    for name, shares in {"right": [0.5, 0.25, 0.25], "wrong": [0.47, 0.26, 0.27]}.items():
        splits = random.multinomial(10_000, shares, 2_000).tolist()
        checks = [check_sample_ratio(dict(zip(WANTED, n, strict=True)), WANTED) for n in splits]
        noticed[name] = np.mean([check.noticed for check in checks])
    assert noticed["right"] <= 4 * LEVEL
    assert noticed["wrong"] > 0.99


def test_users_where_none_are_wanted_are_noticed() -> None:
    check = check_sample_ratio({"a": 1_000, "b": 1}, {"a": 1, "b": 0})
    assert (check.noticed, check.p) == (True, 0.0)
    assert check.reason == "users in an arm without weight: a 1,000 of 1,001, b 1 of 0"


@pytest.mark.parametrize(
    ("users", "wanted", "reason"),
    [
        ({"a": 3}, {"a": 1, "b": 1}, "too few users to tell: a 3 of 2, b 0 of 2"),
        ({}, {"a": 1, "b": 1}, "too few users to tell: a 0 of 0, b 0 of 0"),
        ({"a": 100}, {"a": 1, "b": 0}, "there is one arm only"),
    ],
)
def test_what_cant_be_tested(users: dict[str, int], wanted: dict[str, float], reason: str) -> None:
    check = check_sample_ratio(users, wanted)
    assert check.to_document() == {"noticed": False, "p": None, "reason": reason}
    json.dumps(check.to_document(), allow_nan=False)


@pytest.mark.parametrize(
    ("users", "wanted"),
    [
        ({"c": 1}, {"a": 1, "b": 1}),
        ({}, {}),
        ({}, {"a": 0, "b": 0}),
        ({}, {"a": -1, "b": 3}),
        ({}, {"a": float("nan"), "b": 1}),
        ({}, {"a": float("inf"), "b": 1}),
    ],
)
def test_a_split_that_means_nothing_is_rejected(
    users: dict[str, int], wanted: dict[str, float]
) -> None:
    with pytest.raises(InputError, match="arm"):
        check_sample_ratio(users, wanted)
