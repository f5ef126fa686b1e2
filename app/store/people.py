"""Who was forgotten, as workers follow it."""

from __future__ import annotations

from app.store.client import StoreClient
from model_store import keys

MAX_FOUND = 5_000
"""To read as many holds the event loop for some milliseconds."""


class PeopleStore:
    """Digests of forgotten users; all methods raise StoreError when they can't be read.

    Args:
        client: for what no request waits for.
    """

    def __init__(self, client: StoreClient) -> None:
        self._client = client

    async def newest(self) -> int:
        """When somebody was forgotten last, in unix microseconds; 0: never."""
        [found] = await self._client.ask(("ZREVRANGE", keys.FORGOTTEN, 0, 0, "WITHSCORES"))
        return int(float(found[1])) if found else 0

    async def everybody(self) -> set[bytes]:
        """Digests of all who were forgotten at any time."""
        digests, at_us = set[bytes](), 0
        while found := await self.forgotten_after(at_us):
            digests.update(digest for digest, _ in found)
            at_us = found[-1][1]
        return digests

    async def forgotten_after(self, at_us: int) -> list[tuple[bytes, int]]:
        """Digests of those who were forgotten after a time, and when, the oldest `MAX_FOUND`."""
        limit = ("LIMIT", 0, MAX_FOUND)
        [found] = await self._client.ask(
            ("ZRANGEBYSCORE", keys.FORGOTTEN, f"({at_us}", "+inf", "WITHSCORES", *limit)
        )
        pairs = zip(found[::2], found[1::2], strict=True)
        return [(digest, int(float(at))) for digest, at in pairs]
