"""A circuit breaker: a reranker that fails is left alone for a while, then tried with one job."""

from __future__ import annotations

import logging
from collections.abc import Callable
from time import monotonic

log = logging.getLogger(__name__)

MAX_FAILURES = 5
"""So many in a row open the circuit; of jobs that never ended, one does."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 30.0


class CircuitBreaker:
    """Closed: jobs are asked. Open: none is. Half-open, after a pause: one is, and decides.

    Args:
        on_change: called with whether the circuit is open, at each change.
    """

    def __init__(self, on_change: Callable[[bool], object] | None = None) -> None:
        self._on_change = on_change
        self._n_failures = 0
        self._pause_s = FIRST_PAUSE_S
        self._retry_at_s: float | None = None
        self._is_trying = False
        self._succeeded_at_s = monotonic()
        self.reason: str | None = None
        """Why it is open; None while it is closed."""

    @property
    def is_open(self) -> bool:
        """Whether jobs are held back, but for one that is a trial."""
        return self._retry_at_s is not None

    def permits(self) -> bool:
        """Whether a job may be asked now; each that is must end in `succeeded` or `failed`."""
        if self._retry_at_s is None:
            return True
        if self._is_trying or monotonic() < self._retry_at_s:
            return False
        self._is_trying = True
        return True

    def succeeded(self) -> None:
        """Note a usable answer."""
        self._n_failures = 0
        self._succeeded_at_s = monotonic()
        if self._retry_at_s is not None:
            log.warning("the reranker answers again")
            self._retry_at_s, self._is_trying, self._pause_s = None, False, FIRST_PAUSE_S
            self.reason = None
            self._changed()

    def failed(self, reason: str) -> None:
        """Note a job without a usable answer."""
        self._n_failures += 1
        if self._is_trying or (self._retry_at_s is None and self._n_failures >= MAX_FAILURES):
            self._open(reason)

    def hung(self, since_s: float, reason: str) -> None:
        """Note a job that did not end.

        It opens the circuit unless another one that ended well shows that the reranker works.

        Args:
            since_s: when it was asked, on the monotonic clock.
            reason: for the log.
        """
        if self._succeeded_at_s < since_s:
            self._n_failures = MAX_FAILURES
        self.failed(reason)

    def _open(self, reason: str) -> None:
        was_open = self._retry_at_s is not None
        if was_open:
            self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)
        else:
            log.error("the reranker is not asked for a while: %s", reason)
        self._retry_at_s, self._is_trying = monotonic() + self._pause_s, False
        self.reason = reason
        if not was_open:
            self._changed()

    def _changed(self) -> None:
        if self._on_change is not None:
            self._on_change(self.is_open)
