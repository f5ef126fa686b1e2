"""Estimates how long the reranker takes for a job."""

from __future__ import annotations

SMOOTHING = 0.2


class Pace:
    """Seconds until an answer, from the jobs that ended: exponentially weighted means.

    One mean for each depth of the queue, in powers of two: some rerankers rank one job after the
    other, others many at once.
    """

    def __init__(self) -> None:
        self._means: dict[int, float] = {}  # by the least number of jobs of that depth

    def expect(self, n_jobs: int) -> float | None:
        """Seconds for a job that is the last of so many; None before any was measured.

        At most as long as if all of them were ranked one after the other. So a time that was
        measured when the reranker was slow doesn't last.
        """
        depth = _depth(n_jobs)
        found = [
            mean if one == depth else mean * n_jobs / one
            for one, mean in self._means.items()
            if one <= depth
        ]
        if found:
            return min(found)
        # Only longer queues were measured: it takes less than that.
        return self._means[min(self._means)] if self._means else None

    def measured(self, seconds: float, n_jobs: int) -> None:
        """Note a job that took so long from being asked, as the last of `n_jobs` in flight."""
        depth = _depth(n_jobs)
        mean = self._means.get(depth, seconds)
        self._means[depth] = mean + SMOOTHING * (seconds - mean)


def _depth(n_jobs: int) -> int:
    """The largest power of two that is no larger."""
    return 1 << (n_jobs.bit_length() - 1)
