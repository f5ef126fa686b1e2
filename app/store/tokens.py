"""Records of tokens in the store, and the counted uses of callers' keys."""

from __future__ import annotations

from collections.abc import Mapping

from app.store.client import StoreClient
from app.store.connection import Command
from model_store import keys
from model_store.tokens import TokenReader, TokenRecord

USES_EXPIRY_S = 120


class TokenStore:
    """Operators' tokens are looked up for each request, as those are few: a change acts at once.

    Callers' keys are read all together, in the background.
    """

    def __init__(self, client: StoreClient) -> None:
        self._client = client
        self._reader = TokenReader()

    async def find(self, number: str) -> TokenRecord | None:
        """The record of the token with this id.

        Raises:
            StoreError: the store can't be read.
        """
        [entry] = await self._client.ask(("HGET", keys.TOKENS, number))
        return self._reader.read(entry)

    async def settle(
        self, uses: Mapping[int, Mapping[str, int]], window: int
    ) -> tuple[dict[str, TokenRecord], dict[str, int]]:
        """Add uses of keys by all workers; returns the keys by id, and the sums of a window.

        Args:
            uses: numbers by window and id of the key.
            window: the one whose sums are wanted.

        Raises:
            StoreError: the store can't be asked.
        """
        commands: list[Command] = []
        for one, counts in uses.items():
            key = keys.uses_key(one)
            commands += [("HINCRBY", key, number, n) for number, n in counts.items()]
            commands.append(("EXPIRE", key, USES_EXPIRY_S))
        *_, entries, sums = await self._client.ask(
            *commands, ("HGETALL", keys.TOKENS), ("HGETALL", keys.uses_key(window))
        )
        records = [self._reader.read(entry) for entry in entries[1::2]]
        callers = {one.id: one for one in records if one is not None and one.role == "call"}
        found = zip(sums[::2], sums[1::2], strict=True)
        return callers, {number.decode(): int(n) for number, n in found}
