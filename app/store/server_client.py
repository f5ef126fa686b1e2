"""A connection to the store that is opened when needed, given up when it hangs, and replaced.

Every call has a limit. After a failure there are no calls for a moment, then one caller tries
again; so a store that is away costs the others nothing. Requests and background work have a client
each, and don't affect each other.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from app.store.client import StoreClient
from app.store.connection import PROBES, Command, StoreConnection, open_connection
from app.store.primary import Primary
from app.store.timeouts import Replies, Timeouts
from model_store.error_replies import READ_ONLY, code_of
from model_store.errors import StoreAway, StoreError
from model_store.store_url import StoreUrl

log = logging.getLogger(__name__)

RETRY_AFTER_S = 0.25
# How long connecting may take at least; requests wait no longer for it than for an answer.
CONNECT_TIMEOUT_S = 1.0
ONE_ITERATION_S = 0.001
LONGEST_RENEWAL_PAUSE_S = 5.0


class Health(Protocol):
    """Hears how a server is, as `app.store.state.StoreState` does."""

    def away(self, line: str) -> None:
        """It doesn't answer, and why."""

    def probed(self, replies: Sequence[Any]) -> None:
        """A read and a write were tried, with these replies."""


class ServerClient(StoreClient):
    """Calls over one connection to one server: the URL's, or the one that Sentinels name.

    Args:
        url: of the store; its host is resolved for every new connection.
        timeout_s: default and maximum limit of a call. A store that takes longer counts as away.
        state: records whether the store answers; may be None.
        on_renewal: called when a connection to a replica was replaced by one to the primary.
        primary: finds the server for each connection, where Sentinels know it.
    """

    def __init__(
        self,
        url: StoreUrl,
        *,
        timeout_s: float,
        state: Health | None = None,
        on_renewal: Callable[[], None] | None = None,
        primary: Primary | None = None,
    ) -> None:
        self.timeout_s = timeout_s
        self._url = url
        self._tls = url.tls.context() if url.tls else None
        self._state = state
        self._on_renewal = on_renewal
        self._primary = primary
        self._connection: StoreConnection | None = None
        self._connecting: asyncio.Task[StoreConnection] | None = None
        self._timeouts = Timeouts[StoreConnection](timeout_s, self._look_once_more)
        self._retry_at = 0.0
        self._renewal_pause_s = 0.0
        self._renew_at_s = 0.0
        self._is_retired = False

    async def call(self, commands: Sequence[Command], limit_s: float | None = None) -> list[Any]:
        """See `StoreClient`."""
        connection = self._connection
        if connection is None or not connection.is_open:
            connection = await self._connect(limit_s)
        future = connection.call(commands)
        if limit_s is None or limit_s >= self.timeout_s:
            self._timeouts.watch(future, connection)
            return await future
        loop = asyncio.get_running_loop()
        timer = loop.call_later(limit_s, self._look_once_more, future, connection, limit_s)
        try:
            return await future
        finally:
            timer.cancel()

    def send(self, commands: Sequence[Command]) -> Replies | None:
        """As `call`, without a task to wait for the replies; None: there is no connection yet."""
        connection = self._connection
        if connection is None or not connection.is_open:
            return None
        future = connection.call(commands)
        self._timeouts.watch(future, connection)
        return future

    async def probe(self, *further: Command) -> list[Any]:
        """See `StoreClient`: a store that has become a read-only replica is given up.

        After a failover its name means another server.
        """
        if self._primary is not None and await self._primary.is_another():
            await self._renew()
        replies = await self.call([*PROBES, *further])
        if code_of(str(replies[1])) != READ_ONLY:
            self._renewal_pause_s = 0.0
        elif time.monotonic() >= self._renew_at_s:
            self._renewal_pause_s = min(2 * self._renewal_pause_s + 0.25, LONGEST_RENEWAL_PAUSE_S)
            self._renew_at_s = time.monotonic() + self._renewal_pause_s
            await self._renew()
            return await self.call([*PROBES, *further])
        return replies

    async def _renew(self) -> None:
        """Replace the connection by a new one, for which the name is resolved again.

        Calls in flight end on the old one. If no new one can be opened, the old one stays.
        """
        old = self._connection
        if old is None or not old.is_open or self._connecting is not None:
            return  # the next call opens a new one anyway
        try:
            new = await self._open()
        except StoreError:
            return
        if self._connection is not old:
            new.close()
            return
        self._adopt(new)
        old.retire()
        if code_of(str(new.probed[1])) == READ_ONLY:
            return  # the same one, or another replica
        if self._state is not None:
            log.warning("another server is the primary now; connected again to %s", self._url)
        if self._on_renewal is not None:
            self._on_renewal()

    def retire(self) -> None:
        """End the connection as soon as no call is in flight, and one that is opened later, too.

        Who has this client still may call it once more.
        """
        self._is_retired = True
        if self._connection is not None:
            self._connection.retire()

    def close(self) -> None:
        """End the connection."""
        if self._primary is not None:
            self._primary.close()
        if self._connecting is not None:
            self._connecting.cancel()
        if self._connection is not None:
            self._connection.close()

    def _look_once_more(self, future: Replies, connection: StoreConnection, limit: float) -> None:
        # A delayed loop runs its timers before it reads its sockets: the reply may be there
        # already, and a slow loop is no store that is away. Wait for one more iteration.
        loop = asyncio.get_running_loop()
        loop.call_later(ONE_ITERATION_S, self._give_up, future, connection, limit)

    def _give_up(self, future: Replies, connection: StoreConnection, limit: float) -> None:
        if future.done():
            return
        line = f"the store did not answer in {limit * 1000:.0f} ms"
        future.set_exception(StoreAway(line))
        if limit >= self.timeout_s:
            connection.close()
            if connection is self._connection:
                self._is_away(line)

    def _is_away(self, line: str) -> None:
        self._retry_at = asyncio.get_running_loop().time() + RETRY_AFTER_S
        if self._state is not None:
            self._state.away(line)

    async def _connect(self, limit_s: float | None) -> StoreConnection:
        """The connection that is being opened, or a new one if it is time to try again."""
        loop = asyncio.get_running_loop()
        if self._connecting is None:
            if loop.time() < self._retry_at:
                raise StoreAway("the store was away a moment ago")
            self._connecting = loop.create_task(self._open())
            self._connecting.add_done_callback(self._connected)
        elif self._retry_at > 0:
            raise StoreAway("the store is away, and another call is trying it already")
        limit = self.timeout_s if limit_s is None else min(limit_s, self.timeout_s)
        waited, _ = await asyncio.wait([self._connecting], timeout=limit)
        if not waited:
            if limit >= self.timeout_s:
                # The others need not wait; the cause is known when it ends.
                self._retry_at = loop.time() + RETRY_AFTER_S
            raise StoreAway("the store does not answer")
        return waited.pop().result()

    async def _open(self) -> StoreConnection:
        limit_s = max(CONNECT_TIMEOUT_S, self.timeout_s)
        if self._primary is not None:
            return await self._primary.open(limit_s, answer_within_s=self.timeout_s)
        return await open_connection(self._url, self._tls, limit_s, answer_within_s=self.timeout_s)

    def _connected(self, task: asyncio.Task[StoreConnection]) -> None:
        self._connecting = None
        if task.cancelled():
            return
        error = task.exception()
        if error is None:
            self._retry_at = 0.0
            self._adopt(task.result())
        else:
            self._is_away(str(error))

    def _adopt(self, connection: StoreConnection) -> None:
        self._connection = connection
        if self._is_retired:  # after the call that it was opened for
            asyncio.get_running_loop().call_later(self.timeout_s, connection.retire)
        if self._state is not None:
            self._state.probed(connection.probed)
