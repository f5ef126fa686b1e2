from __future__ import annotations

import pytest

from offline.recommender.config import TrainingConfig
from offline.recommender.learning_rate import learning_rate_at


def rates(**choices: object) -> list[float]:
    config = TrainingConfig(
        **{"epochs": 10, "learning_rate": 0.5, "warm_up_steps": 20, **choices}  # type: ignore[arg-type]
    )
    return [learning_rate_at(*divmod(step, 10), 10, config=config) for step in range(100)]


def test_it_rises_to_what_was_asked_for() -> None:
    found = rates()
    assert found[:20] == pytest.approx([0.5 * (step + 1) / 20 for step in range(20)])
    assert set(found[20:]) == {0.5}
    assert set(rates(warm_up_steps=0)) == {0.5}


def test_cosine_decay_ends_at_nothing() -> None:
    found = rates(decay="cosine", warm_up_steps=0)
    assert found[0] == 0.5
    assert found[50] == pytest.approx(0.25)
    assert found[25] == pytest.approx(0.5 * (1 + 2**-0.5) / 2)
    assert 0 < found[99] < 0.5 / 1000
    assert found == sorted(found, reverse=True)


def test_decay_comes_on_top_of_the_warm_up() -> None:
    plain, decayed = rates(), rates(decay="cosine")
    unwarmed = rates(decay="cosine", warm_up_steps=0)
    assert decayed[5] == pytest.approx(plain[5] * unwarmed[5] / 0.5)
    assert decayed[60] == unwarmed[60]
