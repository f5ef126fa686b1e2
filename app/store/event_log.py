"""How long the event log is, as workers watch it."""

from __future__ import annotations

from app.store.client import StoreClient
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
