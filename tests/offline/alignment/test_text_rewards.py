from __future__ import annotations

import numpy as np
import pytest

from offline.alignment.config import AlignmentConfig
from offline.alignment.examples import Examples
from offline.alignment.experience import SampledText
from offline.alignment.models import Models, open_models
from offline.alignment.text_rewards import (
    ItemRewards,
    choose_best,
    describe_rewards,
    measure_rewards,
)
from tests.offline.alignment.world import make_inputs, make_models


class Listed:
    """Texts of two items."""

    def __init__(self) -> None:
        none = np.zeros(1, np.float32)
        self._texts = {
            item: [
                SampledText(item, text, np.zeros(1, np.int32), none, none)
                for text in (f"Title: item {item}", "toy war fun", "quiet people")
            ]
            for item in (2, 5)
        }

    @property
    def items(self) -> np.ndarray:
        return np.array([2, 5], dtype=np.int32)

    def texts(self, item: int) -> list[SampledText]:
        return self._texts[item]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    folder = make_models(tmp_path_factory.mktemp("models"))
    return open_models(make_inputs(folder, freeze_encoder=True), folder / "work", folder)


def drawn(
    text: float, example: float, rest: float, n_examples: int, n_items: int
) -> list[ItemRewards]:
    rng = np.random.default_rng(0)
    rewards = []
    for item in range(n_items):
        log_p = (
            -5.0
            + text * rng.normal(size=(1, 4))
            + example * rng.normal(size=(n_examples, 1))
            + rest * rng.normal(size=(n_examples, 4))
        )
        rewards.append(ItemRewards(item + 1, log_p, np.full(n_examples, -5.5)))
    return rewards


def test_variance_is_found_where_it_lies() -> None:
    found = describe_rewards(drawn(0.3, 1.0, 0.5, 40, 200), examples_per_item=16)
    total = 0.09 + 1.0 + 0.25
    assert found["share_text"] == pytest.approx(0.09 / total, rel=0.15)
    assert found["share_example"] == pytest.approx(1.0 / total, rel=0.15)
    assert found["share_rest"] == pytest.approx(0.25 / total, rel=0.15)
    assert found["reliability"] == pytest.approx(0.09 / (0.09 + 0.25 / 16), rel=0.1)
    assert found["text_deviation"] == pytest.approx(0.3, rel=0.1)
    # The largest of four normal numbers is 1.03 standard deviations above their mean.
    assert 0.75 * 1.03 * 0.3 < found["gain_best"] < 1.03 * 0.3
    assert found["gain_best"] < found["gain_best_same"]
    assert found["gain_random_over_before"] == pytest.approx(0.5, abs=0.05)


def test_texts_that_do_not_matter_gain_nothing_where_they_were_not_chosen() -> None:
    found = describe_rewards(drawn(0.0, 1.0, 0.5, 40, 200), examples_per_item=16)
    assert abs(found["share_text"]) < 0.002
    assert abs(found["gain_best"]) < 0.01
    assert found["gain_best_same"] > 0.05


def test_equal_texts_tell_nothing() -> None:
    log_p = np.arange(6.0)[:, None].repeat(3, axis=1)
    found = describe_rewards([ItemRewards(1, log_p, log_p[:, 0])], examples_per_item=2)
    assert (found["share_text"], found["share_rest"], found["reliability"]) == (0, 0, 0)
    assert (found["share_example"], found["gain_best"]) == (1, 0)


def test_rewards_are_those_that_alignment_gives(models: Models) -> None:
    judge, pool = models.judge, Listed()
    rewards = measure_rewards(
        pool, judge.with_text, judge.vectors, models.examples, at_most=5, seed=3
    )
    assert [each.item for each in rewards] == [2, 5]
    rng = np.random.default_rng(3)
    for each in rewards:
        examples = models.examples.ending_with(each.item, 5, rng)
        assert each.log_p.shape == (len(examples), 3)
        for column, text in enumerate(pool.texts(each.item)):
            log_with, _ = judge.rewards(examples, [(text,)] * len(examples))
            np.testing.assert_allclose(each.log_p[:, column], log_with, atol=1e-5)
        before = models.initial_texts()[each.item - 1]
        none = np.zeros(1, np.float32)
        own = SampledText(each.item, before, np.zeros(1, np.int32), none, none)
        log_before, _ = judge.rewards(examples, [(own,)] * len(examples))
        np.testing.assert_allclose(each.before, log_before, atol=1e-5)
    best = choose_best(rewards, pool)
    assert best[2] is pool.texts(2)[int(rewards[0].log_p.mean(axis=0).argmax())]


def test_an_item_with_one_example_has_no_rewards(models: Models) -> None:
    examples = Examples([np.array([1, 2, 3]), np.array([4, 2, 1])], 5)
    judge, pool = models.judge, Listed()
    found = measure_rewards(pool, judge.with_text, judge.vectors, examples, at_most=5, seed=3)
    assert [each.item for each in found] == [2]
    assert describe_rewards(found, AlignmentConfig().examples_per_item)["examples"] == 2
