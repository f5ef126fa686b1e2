"""When a failed call is made again, and after how long."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

from longtail_client.calls import Call
from longtail_client.errors import (
    ApiError,
    LongtailError,
    OverloadedError,
    UnavailableError,
    UnreachableError,
)

_REQUEST_TIMEOUT = 408  # the request did not arrive in time, and was not read


@dataclass(frozen=True)
class Retries:
    """How often a call is made again, and how long it waits before.

    A call is repeated only where that does no harm: the service did not act on it (no connection,
    408, 429), or to act twice is the same as once. The wait is what the service asks for with
    `Retry-After`, and a random part of a limit that doubles with every attempt, so that callers
    don't come back all at once.

    Attributes:
        attempts: in all, the first one included; 1 never repeats.
        backoff_s: that limit after the first attempt.
        max_wait_s: the limit doesn't grow past it; a call that the service asks to wait for longer
            fails at once.
    """

    attempts: int = 3
    backoff_s: float = 0.1
    max_wait_s: float = 5.0

    def __post_init__(self) -> None:
        # NaN, with which no comparison would end the attempts, is not at least anything.
        for name, least in (("attempts", 1), ("backoff_s", 0), ("max_wait_s", 0)):
            if not getattr(self, name) >= least:
                raise ValueError(f"{name}={getattr(self, name)} is below {least}")

    def wait_s(self, call: Call[Any], n_failed: int, error: LongtailError) -> float | None:
        """Seconds to wait before the next attempt; None: the error is final.

        Args:
            call: that failed.
            n_failed: attempts so far.
            error: of the last one.
        """
        if n_failed >= self.attempts or call.is_probe or not _may_pass(error):
            return None
        if error.may_have_acted and not call.repeatable:
            return None
        asked_s = (error.retry_after_s if isinstance(error, ApiError) else None) or 0.0
        if asked_s > self.max_wait_s:
            return None
        limit_s = min(self.max_wait_s, self.backoff_s * 2 ** (n_failed - 1))
        return asked_s + random.uniform(0, limit_s)  # noqa: S311 - it guards nothing


def _may_pass(error: LongtailError) -> bool:
    """Whether a later attempt may succeed."""
    if isinstance(error, ApiError) and error.status == _REQUEST_TIMEOUT:
        return True
    return isinstance(error, UnreachableError | OverloadedError | UnavailableError)
