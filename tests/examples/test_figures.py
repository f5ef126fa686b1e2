"""Click rates and their intervals."""

from __future__ import annotations

import numpy as np
import pytest

from examples.loop.figures import Counts, ratio


def test_a_rate_has_the_interval_of_independent_users() -> None:
    """With one exposure a user, that of a share: p ± 1.96 sqrt(p (1 - p) / (n - 1))."""
    clicks = np.array([1.0] * 30 + [0.0] * 70)
    found = ratio(clicks, np.ones(100))
    margin = 1.96 * np.sqrt(0.3 * 0.7 / 99)
    assert found == pytest.approx({"value": 0.3, "low": 0.3 - margin, "high": 0.3 + margin})


def test_a_difference_of_the_same_users_is_paired() -> None:
    """Where each user clicks once more under one policy, nothing is uncertain."""
    exposures = np.full(50, 5.0)
    clicks = np.arange(50) % 4
    more, less = Counts(clicks + 1.0, exposures), Counts(clicks + 0.0, exposures)
    assert more.above(less) == pytest.approx({"value": 0.2, "low": 0.2, "high": 0.2})
