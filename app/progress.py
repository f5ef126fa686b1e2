"""Progress of long commands on stderr: count, rate and expected end.

A terminal gets one line that is redrawn, a log file a line every five seconds.
"""

from __future__ import annotations

import sys
import time
from datetime import datetime, timedelta
from typing import TextIO

LOG_INTERVAL_S = 5.0
REDRAW_INTERVAL_S = 0.2


class Progress:
    """Counts towards a total.

    What was done before is counted apart: it takes no time, and would make the end seem near.

    Args:
        label: of the work.
        total: how much is to be done.
        limit: how much of it in this run; None: all.
        stream: for tests; unset means stderr.
    """

    def __init__(
        self, label: str, total: int, limit: int | None = None, stream: TextIO | None = None
    ) -> None:
        self._label, self._total = label, total
        self._limit = total if limit is None else limit
        self._stream = sys.stderr if stream is None else stream
        self._redraws = self._stream.isatty()
        self._n_done = self._n_skipped = 0
        self._started_s = time.monotonic()
        self._written_s = self._started_s

    def show(self, n_done: int, n_skipped: int = 0) -> None:
        """Note how much was done in this run, and how much was done before."""
        self._n_done, self._n_skipped = n_done, n_skipped
        interval_s = REDRAW_INTERVAL_S if self._redraws else LOG_INTERVAL_S
        if time.monotonic() - self._written_s >= interval_s:
            self._write()

    def close(self) -> None:
        """Show the last state and end the line."""
        self._write()
        if self._redraws:
            self._stream.write("\n")
            self._stream.flush()

    def _write(self) -> None:
        self._written_s = time.monotonic()
        begin, end = ("\r", "\x1b[K") if self._redraws else ("", "\n")
        self._stream.write(f"{begin}{self._label}: {self._describe()}{end}")
        self._stream.flush()

    def _describe(self) -> str:
        n_done, n_skipped = self._n_done, self._n_skipped
        words = f"{n_done + n_skipped:,} of {self._total:,}"
        if n_skipped:
            words += f", {n_skipped:,} of them before"
        seconds = self._written_s - self._started_s
        if not n_done or seconds <= 0:
            return words
        words += f", {n_done / seconds:,.1f} a second"
        n_left = min(self._total - n_skipped, self._limit) - n_done
        if n_left > 0:
            left_s = n_left * seconds / n_done
            end = datetime.now().astimezone() + timedelta(seconds=left_s)
            words += f", {_duration(left_s)} left, until {end:%H:%M}"
        return words


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
