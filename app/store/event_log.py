"""The logs that wait to be archived, as workers watch and write them."""

from __future__ import annotations

from collections.abc import Sequence

from app.store.client import StoreClient, error_in
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

    async def write(self, commands: Sequence[Command]) -> dict[int, StoreError]:
        """Append to the log of exposures.

        Args:
            commands: of `exposures_command`.

        Returns:
            Why some were rejected, by their position; those of other streams may be there.

        Raises:
            StoreError: the store can't be reached; some may have been appended.
        """
        if not commands:
            return {}  # there would be no reply to wait for
        replies = await self._client.call_script(LOAD, commands)
        errors = {place: error_in(reply) for place, reply in enumerate(replies)}
        return {place: error for place, error in errors.items() if error is not None}
