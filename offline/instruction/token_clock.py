"""The pace of a tuning."""

from __future__ import annotations

import time


class TokenClock:
    """Measures how many tokens are trained on in a second; a step lasts until the next begins."""

    def __init__(self) -> None:
        self._begun: tuple[float, int] | None = None
        self._seconds, self._tokens = 0.0, 0

    def begin(self, n_tokens: int) -> None:
        """A step of so many tokens begins."""
        self.pause()
        self._begun = time.perf_counter(), n_tokens

    def pause(self) -> None:
        """The step has ended, and none begins yet."""
        if self._begun is not None:
            self._seconds += time.perf_counter() - self._begun[0]
            self._tokens += self._begun[1]
            self._begun = None

    @property
    def tokens_per_s(self) -> float | None:
        """None before the first step has ended."""
        return self._tokens / self._seconds if self._seconds else None
