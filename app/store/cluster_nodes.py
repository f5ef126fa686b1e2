"""The nodes of a cluster: a client for each, who has which slot, and whether all is well.

The nodes are asked for their slots when a client begins, when one redirects a command, and, while a
node is away or the cluster is down, ten times a second by one task, whatever the load.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Sequence
from typing import Any

from app.store.connection import Command
from app.store.recent_events import Takeover
from app.store.server_client import ServerClient
from app.store.slot_map import Host, SlotMap, read_slot_map
from app.store.state import StoreState
from model_store.error_replies import code_of
from model_store.errors import StoreAway, StoreError
from model_store.store_url import StoreUrl, shown_host

log = logging.getLogger(__name__)

REFRESH_PAUSE_S = 0.1
ASKED_AT_ONCE = 3
"""So many nodes are asked for their slots; the one that knows of the newest failover is right."""
DOWN = frozenset(("CLUSTERDOWN", "LOADING", "MASTERDOWN"))
"""Errors of a node that will serve its slots again, or another in its place."""
_VIEW: tuple[Command, Command] = (("CLUSTER", "SLOTS"), ("CLUSTER", "INFO"))


class ClusterState(StoreState):
    """The state of a cluster: the client says whether all nodes are well, and no single answer."""

    def reads_work(self) -> None:
        """Nothing: another node may be away."""

    def writes_work(self) -> None:
        """Nothing: another node may be away."""


class _Node:
    """Hears whether one node is away."""

    def __init__(self, host: Host, note: Callable[[Host, str], None]) -> None:
        self._host = host
        self._note = note

    def away(self, line: str) -> None:
        self._note(self._host, line)

    def probed(self, replies: Sequence[Any]) -> None:
        """Nothing: a new connection tries keys that may be another node's."""


class ClusterNodes:
    """Clients of the nodes, by slot.

    Args:
        url: of the cluster.
        timeout_s: of a call to a node.
        state: is told whether all primaries answer; may be None.
        on_takeover: awaited with slots that another node has now, before it is used for them.
    """

    def __init__(
        self,
        url: StoreUrl,
        *,
        timeout_s: float,
        state: StoreState | None = None,
        on_takeover: Takeover | None = None,
    ) -> None:
        self.owners: list[ServerClient | None] = []
        """The client of each slot's primary; empty before the first answer."""
        self._url = url
        self._timeout_s = timeout_s
        self._state = state
        self._on_takeover = on_takeover
        self._map = SlotMap()
        self._clients: dict[Host, ServerClient] = {}
        self._probe_keys: dict[Host, str] = {}
        self._refreshing: asyncio.Task[None] | None = None
        self._refreshed_at_s = 0.0
        self._recovering: asyncio.Task[None] | None = None

    def client_of(self, host: Host) -> ServerClient:
        """The client of a node; a new one where it isn't known yet."""
        client = self._clients.get(host)
        if client is None:
            node = _Node(host, self._note_away)
            client = self._clients[host] = ServerClient(
                self._url.node(*host), timeout_s=self._timeout_s, state=node
            )
        return client

    def any_client(self) -> ServerClient:
        """The client of some primary."""
        return self.client_of(random.choice(sorted(self._map.primaries)))  # noqa: S311

    def note_trouble(self, line: str) -> None:
        """A node is away, or the cluster is down: look after it until all is well."""
        if self._recovering is None:
            if self._state is not None:
                self._state.away(line)
            self._recovering = asyncio.get_running_loop().create_task(self._recover())

    def _note_away(self, host: Host, line: str) -> None:
        # Replicas are asked for slots alone, and others can be.
        if not self.owners or host in self._map.primaries:
            line = f"node {shown_host(*host)}: {line}"
            self.note_trouble(line)
            if self._state is not None:
                self._state.away(line)  # who asks again hears only that it was away

    async def learn(self, limit_s: float) -> None:
        """Wait until it is known who has which slot.

        Raises:
            StoreAway: no node says so in time, or none did a moment ago.
            StoreError: it is no cluster, or this user mayn't ask.
        """
        if self._recovering is not None:
            raise StoreAway("the cluster is away, and a task looks for it already")
        waited, _ = await asyncio.wait([self._refresh_once()], timeout=limit_s)
        if not waited:
            raise StoreAway("the cluster does not answer")
        waited.pop().result()

    async def look_again(self) -> None:
        """Ask for the slots, unless that was done a moment ago; a failure changes nothing."""
        loop = asyncio.get_running_loop()
        if self._refreshing is None and loop.time() < self._refreshed_at_s + REFRESH_PAUSE_S:
            return
        await asyncio.wait([self._refresh_once()], timeout=self._timeout_s)

    async def probe(self) -> list[Any]:
        """Try a read and a write without effect on each primary; the worst replies to both.

        Raises:
            StoreAway: a primary doesn't answer, or a slot has none.
        """
        if self._map.n_missing:
            raise StoreAway(f"{self._map.n_missing} slots of the cluster have no node")
        asked = [
            self.client_of(host).call((("GET", key), ("ZADD", key, "XX", 0, "x")))
            for host, key in self._probe_keys.items()
        ]
        found = await asyncio.gather(*asked, return_exceptions=True)
        worst: list[Any] = [None, 0]
        for host, replies in zip(self._probe_keys, found, strict=True):
            if isinstance(replies, BaseException):
                raise replies
            for place, reply in enumerate(replies):
                if not isinstance(reply, Exception):
                    continue
                if code_of(str(reply)) in DOWN | {"MOVED", "ASK"}:
                    raise StoreAway(f"node {shown_host(*host)}: {reply}")
                worst[place] = reply
        return worst

    def close(self) -> None:
        """End all connections and tasks."""
        for task in (self._refreshing, self._recovering):
            if task is not None:
                task.cancel()
        for client in self._clients.values():
            client.close()

    def _refresh_once(self) -> asyncio.Task[None]:
        if self._refreshing is None:
            self._refreshing = asyncio.get_running_loop().create_task(self._refresh())
            self._refreshing.add_done_callback(self._refreshed)
        return self._refreshing

    def _refreshed(self, task: asyncio.Task[None]) -> None:
        self._refreshing = None
        self._refreshed_at_s = asyncio.get_running_loop().time()
        if not task.cancelled() and (error := task.exception()) is not None:
            self.note_trouble(str(error))

    async def _refresh(self) -> None:
        """Ask some nodes who has which slot.

        Raises:
            StoreError: none says so.
        """
        known = sorted(self._map.hosts)
        asked = random.sample(known, min(ASKED_AT_ONCE, len(known)))
        views = await self._views(asked)
        if not any(isinstance(view, SlotMap) for view in views):
            # Names of the URL may mean other servers by now.
            views = await self._views(self._url.hosts)
        maps = [view for view in views if isinstance(view, SlotMap)]
        if not maps:
            raise views[0] if isinstance(views[0], BaseException) else StoreAway("no answer")
        await self._adopt(max(maps, key=lambda one: (one.epoch, -one.n_missing)))

    async def _views(self, hosts: Sequence[Host]) -> list[SlotMap | BaseException]:
        return await asyncio.gather(*map(self._view, hosts), return_exceptions=True)

    async def _view(self, host: Host) -> SlotMap:
        slots, info = await self.client_of(host).call(_VIEW)
        return read_slot_map(slots, info, host)

    async def _adopt(self, new: SlotMap) -> None:
        if new.owners != self._map.owners or not self.owners:
            moved = new.moved_since(self._map)
            if moved and self._on_takeover is not None:
                await self._on_takeover(moved)
            clients = {host: self.client_of(host) for host in new.primaries}
            self.owners = [clients[host] if host else None for host in new.owners]
            self._probe_keys = new.probe_keys()
            if moved:
                log.debug("%d slots of the cluster have another node", len(moved))
        self._map = new
        for host in self._clients.keys() - new.hosts - {*self._url.hosts}:
            self._clients.pop(host).retire()

    async def _recover(self) -> None:
        """Look until each slot has a node that answers, and tell the state."""
        try:
            while True:
                await asyncio.sleep(REFRESH_PAUSE_S * random.uniform(0.8, 1.2))  # noqa: S311
                try:
                    await self._refresh_once()
                    replies = await self.probe()
                except StoreError:
                    continue
                break
        finally:
            self._recovering = None
        if self._state is not None:
            self._state.probed(replies)
