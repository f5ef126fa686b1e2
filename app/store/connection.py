"""One connection to the store that carries any number of calls at once.

The usual async client costs three times the CPU of this one for a look-up (docs/log/store.md).
Here a call is: pack, write, and a future that the reply resolves; calls made while others are in
flight share the connection, since replies come in the order of the commands.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import hiredis

from model_store import keys
from model_store.error_replies import explain
from model_store.errors import StoreAway, StoreError
from model_store.store_url import StoreUrl

Command = tuple[str | bytes | int, ...]

# A read, and a command that is checked as a write by the store and changes nothing.
PROBES: tuple[Command, Command] = (("GET", keys.DEPLOYMENT), ("ZADD", keys.PROBE, "XX", 0, "x"))


class WholeStoreError(StoreError):
    """The store as a whole rejects commands: it is read-only, full, wants a password, …"""


@dataclass
class _Call:
    """Commands on their way, with the replies that have come so far."""

    n_replies: int
    future: asyncio.Future[list[Any]]
    replies: list[Any] = field(default_factory=list)


class StoreConnection(asyncio.Protocol):
    """An open connection; created by `open_connection`."""

    def __init__(self) -> None:
        self._reader = hiredis.Reader()
        self._calls: deque[_Call] = deque()
        self._unsent: list[bytes] = []
        self._transport: asyncio.Transport | None = None
        self._loop = asyncio.get_running_loop()
        self._is_retired = False
        self.probed: Sequence[Any] = ()
        """What the store answered to the probes when the connection was opened."""

    @property
    def is_open(self) -> bool:
        """Whether commands can be sent."""
        return self._transport is not None and not self._transport.is_closing()

    def call(self, commands: Sequence[Command]) -> asyncio.Future[list[Any]]:
        """Send commands together; their replies in order, error replies as exceptions in place.

        Raises (from the future): StoreAway, the connection ended before all replies came.

        Raises:
            UnicodeEncodeError: a text of a command can't be written in UTF-8; none was sent.
            TypeError: a part of it is no text, bytes or number.
        """
        future: asyncio.Future[list[Any]] = self._loop.create_future()
        if self._transport is None or self._transport.is_closing():
            future.set_exception(StoreAway("the store closed the connection"))
            return future
        # First: with a command that can't be packed, a call would wait for the replies to others.
        packed = [hiredis.pack_command(command) for command in commands]  # type: ignore[arg-type]
        self._calls.append(_Call(len(commands), future))
        if not self._unsent:
            # One write for all calls of this loop iteration: under load a system call for each
            # would cost as much as all the rest of a look-up.
            self._loop.call_soon(self._send)
        self._unsent += packed
        return future

    async def call_within(self, commands: Sequence[Command], limit_s: float) -> list[Any]:
        """As `call`, with a limit of its own; a connection that takes longer is ended.

        Raises:
            StoreAway: the replies didn't come in time, or the connection ended.
        """
        try:
            async with asyncio.timeout(limit_s):
                return await self.call(commands)
        except TimeoutError:
            self.close()
            raise StoreAway(f"no answer in {limit_s * 1e3:.0f} ms") from None

    def _send(self) -> None:
        packed, self._unsent = b"".join(self._unsent), []
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(packed)

    def retire(self) -> None:
        """End the connection as soon as no call is in flight."""
        self._is_retired = True
        if not self._calls:
            self.close()

    def close(self) -> None:
        """End the connection; calls in flight end with StoreAway."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        # A cast, as uvloop's transports are no subclasses of asyncio's.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Hand complete replies to the calls that wait for them."""
        self._reader.feed(data)
        try:
            while (reply := self._reader.gets()) is not False:
                call = self._calls[0]
                call.replies.append(reply)
                if len(call.replies) == call.n_replies:
                    self._calls.popleft()
                    # A caller that gave up has ended the future; its replies are ignored.
                    if not call.future.done():
                        call.future.set_result(call.replies)
        except (hiredis.ProtocolError, IndexError):
            self.close()
        if self._is_retired and not self._calls:
            self.close()

    def connection_lost(self, error: Exception | None) -> None:
        """Fail all waiting calls."""
        reason = f"the connection to the store was lost ({error or 'closed'})"
        while self._calls:
            future = self._calls.popleft().future
            if not future.done():
                future.set_exception(StoreAway(reason))


async def open_connection(
    url: StoreUrl, tls: ssl.SSLContext | None, timeout_s: float, *, answer_within_s: float
) -> StoreConnection:
    """Connect and send the first commands.

    Args:
        url: whose host is resolved now.
        tls: the context for the URL's TLS options; made once, as it reads files.
        timeout_s: for all of it.
        answer_within_s: a store that takes longer for an answer would fail every call.

    Raises:
        StoreAway: there is no answer within the time.
        WholeStoreError: the store rejects the connection (wrong password, unknown database).
    """
    loop = asyncio.get_running_loop()
    connection: StoreConnection | None = None
    try:
        async with asyncio.timeout(timeout_s):
            if url.path:
                _, connection = await loop.create_unix_connection(StoreConnection, url.path)
            else:
                _, connection = await loop.create_connection(
                    StoreConnection, url.host, url.port, ssl=tls
                )
            replies = await _greet(connection, url, answer_within_s)
    except (OSError, TimeoutError) as error:
        if connection is not None:
            connection.close()
        raise StoreAway(f"the store can't be reached: {error or 'no answer'}") from error
    except StoreAway:
        if connection is not None:
            connection.close()
        raise
    connection.probed = replies[-2:]
    for reply in replies[:-2]:
        if isinstance(reply, Exception):
            connection.close()
            # A store that is still reading its file back will answer soon: it is away, not wrong.
            kind = StoreAway if str(reply).startswith("LOADING") else WholeStoreError
            raise kind(explain(str(reply)))
    return connection


async def _greet(connection: StoreConnection, url: StoreUrl, within_s: float) -> list[Any]:
    """Send the first commands; returns the replies.

    Raises:
        StoreAway: it took too long, and a second question did too: the first time may be this
            process's own, which is busy when it starts.
    """
    started = time.monotonic()
    replies = await connection.call(_greeting(url))
    took_s = time.monotonic() - started
    if took_s > within_s:
        started = time.monotonic()
        await connection.call([("PING",)])
        took_s = time.monotonic() - started
    if took_s > within_s:
        raise StoreAway(
            f"the store answers in {took_s * 1e3:.0f} ms, "
            f"later than LONGTAIL_STORE_TIMEOUT_MS={within_s * 1e3:g} allows"
        )
    return replies


def _greeting(url: StoreUrl) -> list[Command]:
    """The first commands: a server that accepts connections may be stopped, or loading."""
    greeting: list[Command] = []
    if url.password:
        greeting.append(("AUTH", *((url.username,) if url.username else ()), url.password))
    if url.db:
        greeting.append(("SELECT", url.db))
    return [*greeting, ("PING",), *PROBES]
