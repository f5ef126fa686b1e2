"""Answers of two versions to the same requests, written and read in the background."""

from __future__ import annotations

from collections.abc import Sequence

from app.store.client import StoreClient
from model_store import keys
from model_store.answer_pairs import AnswerPair, keep_commands


class AnswerPairStore:
    """Keeps pairs of answers, a limited number for each two versions.

    Args:
        client: for what no request waits for.
    """

    def __init__(self, client: StoreClient) -> None:
        self._client = client

    async def keep(self, a: str, b: str, pairs: Sequence[AnswerPair]) -> None:
        """Keep answers of versions a and b, at least one pair.

        Raises:
            StoreError: the store can't be reached, or takes no writes.
        """
        await self._client.ask(*keep_commands(a, b, pairs))

    async def remove(self, a: str, b: str, pairs: Sequence[AnswerPair]) -> None:
        """Remove pairs that were kept.

        Raises:
            StoreError: the store can't be reached, or takes no writes.
        """
        key = keys.answer_pairs_key(a, b)
        await self._client.ask(*(("LREM", key, 0, pair.model_dump_json()) for pair in pairs))

    async def read(self, a: str, b: str, n: int) -> list[bytes]:
        """The last n pairs of versions a and b, newest first, for `answer_pairs.read_pair`.

        Raises:
            StoreError: the store can't be read.
        """
        [documents] = await self._client.ask(("LRANGE", keys.answer_pairs_key(a, b), 0, n - 1))
        found: list[bytes] = documents
        return found
