"""Estimates how long the reranker takes for a job."""

from __future__ import annotations

SMOOTHING = 0.2


class Pace:
    """Seconds a job, from those that ended: an exponentially weighted mean."""

    def __init__(self) -> None:
        self._seconds: float | None = None

    def expect(self, n_jobs: int) -> float | None:
        """Seconds until the last of so many jobs ends; None before any was measured."""
        return None if self._seconds is None else self._seconds * n_jobs

    def measured(self, seconds: float, n_jobs: int) -> None:
        """Note a job that took so long from being asked, as the last of `n_jobs` in flight."""
        each = seconds / n_jobs
        if self._seconds is None:
            self._seconds = each
        else:
            self._seconds += SMOOTHING * (each - self._seconds)
