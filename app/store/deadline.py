"""The moment by which an answer is due."""

from __future__ import annotations

import time
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Deadline:
    """An absolute moment on the monotonic clock; it only ever shortens a limit.

    Created once, when the request arrives, so that time spent in one stage is gone for the next.
    """

    at_s: float

    @classmethod
    def after_ms(cls, milliseconds: float, arrived_at_s: float | None = None) -> Deadline:
        """A deadline counted from a request's arrival (`time.monotonic()`; None: now)."""
        start = time.monotonic() if arrived_at_s is None else arrived_at_s
        return cls(start + milliseconds / 1e3)

    @property
    def remaining_s(self) -> float:
        """Seconds until the deadline; 0 once it has passed."""
        return max(0.0, self.at_s - time.monotonic())

    @property
    def has_passed(self) -> bool:
        """Whether no time is left."""
        return time.monotonic() >= self.at_s

    def shorten(self, limit_s: float) -> float:
        """The limit in seconds, or the time that remains where that is less."""
        return min(limit_s, self.remaining_s)
