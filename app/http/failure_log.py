"""A line for an answer that tells of a failure of the service, with the request's id."""

from __future__ import annotations

import logging
from time import monotonic

from app.telemetry.logs import REQUEST_ID

log = logging.getLogger(__name__)

INTERVAL_S = 10.0
"""Of failures that are alike one line is written in this time, with the number of the others."""
_MAX_KINDS = 100


class FailureLog:
    """Counts failures that are alike, and logs the first of them."""

    def __init__(self) -> None:
        self._written_s: dict[tuple[int, str], float] = {}
        self._n_unwritten: dict[tuple[int, str], int] = {}

    def note(self, status: int, detail: str, request_id: str) -> None:
        """Log a failure, unless one like it was logged a moment ago."""
        kind, now_s = (status, detail), monotonic()
        if now_s < self._written_s.get(kind, -INTERVAL_S) + INTERVAL_S:
            self._n_unwritten[kind] = self._n_unwritten.get(kind, 0) + 1
            return
        if len(self._written_s) >= _MAX_KINDS:
            self._written_s.clear()
            self._n_unwritten.clear()
        self._written_s[kind] = now_s
        n_others = self._n_unwritten.pop(kind, 0)
        others = f" (and {n_others:,} more before)" if n_others else ""
        log.error("answered %d: %s%s", status, detail, others, extra={REQUEST_ID: request_id})
