"""The logs that wait to be archived, as workers watch and write them."""

from __future__ import annotations

from collections.abc import Sequence

from app.store.client import StoreClient
from app.store.connection import Command
from model_store.errors import StoreError
from model_store.event_log import look_commands, read_look
from model_store.exposure_log import LOAD


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
        """Append to the log of exposures.

        Args:
            commands: of `exposures_command`.

        Raises:
            StoreError: the store takes no writes; some may have been appended.
        """
        try:
            await self._client.ask(*commands)
        except StoreError as error:
            if "NOSCRIPT" not in str(error):
                raise
            await self._client.ask(LOAD, *commands)
