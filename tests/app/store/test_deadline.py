from __future__ import annotations

import time

from app.store.deadline import Deadline


def test_a_deadline_only_shortens() -> None:
    deadline = Deadline.after_ms(1_000)
    assert deadline.shorten(0.05) == 0.05
    assert 0.5 < deadline.shorten(30.0) <= 1.0


def test_it_counts_from_the_arrival_and_ends_at_zero() -> None:
    deadline = Deadline.after_ms(100, arrived_at_s=time.monotonic() - 1)
    assert deadline.has_passed
    assert deadline.remaining_s == 0
    assert deadline.shorten(0.05) == 0
    assert not Deadline.after_ms(10_000).has_passed
