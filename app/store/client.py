"""How the service asks the store: one face for a server, for Sentinels and for a cluster."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from app.store.connection import Command, WholeStoreError
from app.store.state import trouble_in
from model_store.error_replies import explain
from model_store.errors import StoreError


class StoreClient(ABC):
    """Calls with a common limit.

    Attributes:
        timeout_s: default and maximum limit of a call.
        is_cluster: whether one call may ask several servers, of which some may be away: the replies
            of those are StoreAway in place.
    """

    timeout_s: float
    is_cluster = False

    @abstractmethod
    async def call(self, commands: Sequence[Command], limit_s: float | None = None) -> list[Any]:
        """Send commands in one round trip; their replies, error replies as exceptions in place.

        A caller's own, shorter limit doesn't make the store count as away.

        Raises:
            StoreAway: it isn't there, or didn't answer in time.
            WholeStoreError: it rejects the connection.
        """

    @abstractmethod
    async def probe(self, *further: Command) -> list[Any]:
        """Try a read and a write without effect; their replies, and those to further commands.

        A server that is no primary any more is given up.

        Raises:
            StoreError: it isn't there, didn't answer in time, or rejects the connection.
        """

    @abstractmethod
    def close(self) -> None:
        """End all connections."""

    async def call_script(self, load: Command, commands: Sequence[Command]) -> list[Any]:
        """As `call`; commands whose script a server lacks are sent once more, after it.

        Args:
            load: SCRIPT LOAD with the script; servers lack it after a restart or failover.
            commands: with EVALSHA of that script, and perhaps others.
        """
        replies = await self.call(commands)
        lacking = [place for place, reply in enumerate(replies) if _lacks_script(reply)]
        if lacking:
            _, *found = await self.call([load, *(commands[place] for place in lacking)])
            for place, reply in zip(lacking, found, strict=True):
                replies[place] = reply
        return replies

    async def ask(self, *commands: Command, limit_s: float | None = None) -> list[Any]:
        """Send commands in one round trip; their replies.

        Raises:
            StoreAway: it isn't there, or didn't answer in time.
            WholeStoreError: it rejects all commands of this kind.
            StoreError: it rejected this one.
        """
        if not commands:
            return []  # there would be no reply to wait for
        replies = await self.call(commands, limit_s)
        for reply in replies:
            if error := error_in(reply):
                raise error
        return replies


def error_in(reply: object) -> StoreError | None:
    """Why a command failed, by its reply; None where it didn't."""
    if isinstance(reply, StoreError):
        return reply
    if not isinstance(reply, Exception):
        return None
    kind = WholeStoreError if trouble_in(reply) else StoreError
    return kind(explain(str(reply)))


def _lacks_script(reply: object) -> bool:
    return isinstance(reply, Exception) and str(reply).startswith("NOSCRIPT")
