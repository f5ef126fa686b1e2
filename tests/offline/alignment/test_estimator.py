from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError

from offline.alignment.config import AlignmentConfig
from offline.alignment.estimator import advantages, importance_ratio, kl_to_go, weigh
from tests.offline.alignment.toy import all_answers, experience, make_policy, texts_of

GROUPS = np.array([0, 0, 0, 1, 1])
REWARDS = np.array([1.0, 2.0, 6.0, 3.0, 3.0])


def config(**choices: object) -> AlignmentConfig:
    return AlignmentConfig.model_validate({"steps": 1} | choices)


def test_the_paper_form_takes_rewards_as_they_are() -> None:
    assert advantages(REWARDS, GROUPS, config(baseline="none")).tolist() == REWARDS.tolist()


def test_a_group_baseline_is_the_mean_of_the_others() -> None:
    found = advantages(REWARDS, GROUPS, config(baseline="group"))
    np.testing.assert_allclose(found, [1 - 4, 2 - 3.5, 6 - 1.5, 0, 0])


def test_normalised_weights_have_no_scale() -> None:
    choice = config(baseline="group", normalise=True)
    found = advantages(REWARDS, GROUPS, choice)
    np.testing.assert_allclose(found, advantages(10 * REWARDS, GROUPS, choice), atol=1e-6)
    assert found[3:].tolist() == [0, 0]


def test_a_text_alone_in_its_group_has_no_weight() -> None:
    assert advantages(np.array([5.0]), np.array([0]), config()).tolist() == [0.0]


def test_a_text_is_rewarded_by_the_mean_over_its_examples_and_clipped() -> None:
    first, second = texts_of(make_policy(), all_answers()[:2])
    p_with = [(first, 0.2), (second, 0.1), (first, 0.4), (second, 0.9)]
    batch = [experience(text, np.log(p), np.log(0.1), group=7) for text, p in p_with]
    one, other = weigh(batch, config(reward_clip=5.0))
    assert (one.texts, other.texts) == ((first,), (second,))
    assert one.reward == pytest.approx((2 + 4) / 2)
    assert other.reward == pytest.approx((1 + 5) / 2)
    apart = [replace(each, group=number // 2) for number, each in enumerate(batch)]
    assert [draw.reward for draw in weigh(apart, config())] == pytest.approx([2, 1, 4, 9])


def test_importance_ratios_are_truncated_above_only() -> None:
    assert importance_ratio(-1.0, -2.0, clip=2.0) == pytest.approx(2.0)
    assert importance_ratio(-3.0, -2.0, clip=2.0) == pytest.approx(np.exp(-1.0))
    assert importance_ratio(2000.0, -2000.0, clip=2.0) == pytest.approx(2.0)


def test_the_penalty_of_a_token_counts_those_behind_it() -> None:
    found = kl_to_go(np.array([-1.0, -2.0, -3.0]), np.array([-2.0, -2.0, -1.0]))
    np.testing.assert_allclose(found, [1 + 0 - 2, 0 - 2, -2])


def test_one_text_has_nothing_to_be_compared_with() -> None:
    with pytest.raises(ValidationError, match="texts_per_example 1"):
        config(texts_per_example=1)
    assert config(texts_per_example=1, baseline="none").texts_per_example == 1
    with pytest.raises(ValidationError, match='goes with baseline "group"'):
        config(baseline="none", normalise=True)
