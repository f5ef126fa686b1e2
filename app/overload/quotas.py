"""Quotas of callers: requests a minute, counted here and settled through the store in between.

No request waits for the store. Each worker counts for itself, adds its counts to those in the store
every second, and reads the sum of all workers there. So a caller can exceed a quota by what the
other workers let through in that second, and by the rest of a batch. While the store is away, each
worker knows its own count only.
"""

from __future__ import annotations

from collections import Counter
from time import time

from app.store.tokens import TokenStore
from model_store.tokens import TokenRecord

SETTLE_S = 1.0
WINDOW_S = 60


class Quotas:
    """The callers' keys, and their requests in the current minute of the clock."""

    def __init__(self, store: TokenStore) -> None:
        self._store = store
        self.callers: dict[str, TokenRecord] | None = None
        """Records of keys by id, as read last; None before the first time."""
        self._window = -1
        self._others = Counter[str]()  # of all workers, as settled last, in the window
        self._own = Counter[str]()  # not settled yet, in the window
        self._unsettled: dict[int, Counter[str]] = {}  # by window

    def wait_s(self, caller: TokenRecord) -> float:
        """How long a caller must wait for its next request; 0 if it may come now."""
        if caller.per_minute is None:
            return 0.0
        now_s = time()
        self._enter(int(now_s) // WINDOW_S)
        if self._others[caller.id] + self._own[caller.id] < caller.per_minute:
            return 0.0
        return (self._window + 1) * WINDOW_S - now_s

    def count(self, caller: TokenRecord, n: int) -> None:
        """Count requests of a caller."""
        if caller.per_minute is None:
            return
        self._enter(int(time()) // WINDOW_S)
        self._own[caller.id] += n
        self._unsettled.setdefault(self._window, Counter())[caller.id] += n

    async def settle(self) -> None:
        """Add the counts to those in the store; read their sums, and the keys.

        Raises:
            StoreError: the store can't be asked; the counts are kept for the next time.
        """
        window = int(time()) // WINDOW_S
        sent, self._unsettled = self._unsettled, {}
        try:
            callers, sums = await self._store.settle(sent, window)
        except BaseException:
            for one, counts in sent.items():
                # Counts of windows that are over decide nothing any more.
                if one >= window:
                    self._unsettled.setdefault(one, Counter()).update(counts)
            raise
        self.callers = callers
        self._enter(int(time()) // WINDOW_S)
        if window == self._window:
            self._others = Counter(sums)
            self._own.subtract(sent.get(window, Counter()))

    def _enter(self, window: int) -> None:
        if window != self._window:
            self._window = window
            self._others.clear()
            self._own.clear()
