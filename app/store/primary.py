"""The primary that Sentinels name, which may be another server after a failover."""

from __future__ import annotations

import asyncio
import ssl

from app.store.connection import StoreConnection, open_connection
from app.store.recent_events import Takeover
from model_store.error_replies import READ_ONLY, code_of
from model_store.errors import StoreAway, StoreError
from model_store.store_url import Host, StoreUrl, shown_host


class Primary:
    """Asks the Sentinels for the primary, and connects to it.

    Args:
        url: of the Sentinels.
        on_takeover: awaited before a connection to another server than before is used.
    """

    def __init__(self, url: StoreUrl, on_takeover: Takeover | None = None) -> None:
        self._url = url
        self._tls: ssl.SSLContext | None = url.tls.context() if url.tls else None
        self._hosts = list(url.hosts)
        self._on_takeover = on_takeover
        self._sentinel: StoreConnection | None = None
        self._asking = asyncio.Lock()  # two who ask at once would each open a connection
        self._connected_to: Host | None = None

    async def open(self, limit_s: float, *, answer_within_s: float) -> StoreConnection:
        """A connection to the primary.

        Args:
            limit_s: for each of the servers asked.
            answer_within_s: a store that takes longer for an answer would fail every call.

        Raises:
            StoreAway: no Sentinel names a server that can be reached and takes writes.
            WholeStoreError: the server rejects the connection (wrong password, …).
        """
        host = await self._find(limit_s)
        url = self._url.node(*host)
        connection = await open_connection(url, self._tls, limit_s, answer_within_s=answer_within_s)
        if code_of(str(connection.probed[1])) == READ_ONLY:
            connection.close()
            raise StoreAway(f"{shown_host(*host)}, which the Sentinels name, is a replica")
        try:
            if self._connected_to not in (None, host) and self._on_takeover is not None:
                await self._on_takeover(None)
        except BaseException:
            connection.close()
            raise
        self._connected_to = host
        return connection

    async def is_another(self) -> bool:
        """Whether the Sentinels name another server than the one connected to."""
        if self._connected_to is None:
            return False
        try:
            return await self._find(1.0) != self._connected_to
        except StoreError:
            return False

    def close(self) -> None:
        """End the connection to a Sentinel."""
        if self._sentinel is not None:
            self._sentinel.close()

    async def _find(self, limit_s: float) -> Host:
        """Host and port of the primary, as the first Sentinel says that knows them.

        One that answered is asked first the next time.
        """
        problems = []
        async with self._asking:
            for host in list(self._hosts):
                try:
                    return await self._ask(host, limit_s)
                except StoreError as error:
                    problems.append(f"Sentinel {shown_host(*host)}: {error}")
                    self._hosts.remove(host)
                    self._hosts.append(host)
                    self.close()
                    self._sentinel = None
        raise StoreAway("; ".join(problems))

    async def _ask(self, host: Host, limit_s: float) -> Host:
        if self._sentinel is None or not self._sentinel.is_open:
            self._sentinel = await open_connection(
                self._url.sentinel(*host), self._tls, limit_s, answer_within_s=limit_s
            )
        service = self._url.service or ""
        [reply] = await self._sentinel.call_within(
            [("SENTINEL", "GET-MASTER-ADDR-BY-NAME", service)], limit_s
        )
        if isinstance(reply, Exception):
            raise StoreError(str(reply))
        if reply is None:
            raise StoreError(f"it knows no primary by the name {service!r}")
        name, port = reply
        return name.decode(), int(port)
