"""The logs that wait to be archived, as workers watch and write them."""

from __future__ import annotations

from collections.abc import Sequence

from app.store.client import StoreClient
from app.store.connection import Command
from model_store.event_log import look_commands, read_look


class EventLog:
    """The streams of events that wait to be archived.

    Args:
        client: for what no request waits for.
    """

    def __init__(self, client: StoreClient) -> None:
        self._client = client

    async def look(self) -> tuple[int, float]:
        """Number of entries, and seconds that the oldest has waited.

        Raises:
            StoreError: the store can't be read.
        """
        return read_look(await self._client.ask(*look_commands()))

    async def write(self, commands: Sequence[Command]) -> None:
        """Append entries.

        Raises:
            StoreError: the store takes no writes; some may have been appended.
        """
        await self._client.ask(*commands)
