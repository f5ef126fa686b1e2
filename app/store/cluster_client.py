"""Calls to a cluster: each command goes to the node that has its key's slot.

A connection of our own for each node, as a library costs four times the CPU time of a look-up or
more (docs/log/store.md).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Any

import hiredis

from app.store.client import StoreClient
from app.store.cluster_nodes import DOWN, ClusterNodes
from app.store.connection import Command
from app.store.recent_events import Takeover
from app.store.server_client import ServerClient
from app.store.slot_map import Host, redirection
from app.store.state import StoreState
from model_store.cluster_commands import routed
from model_store.error_replies import code_of
from model_store.errors import StoreAway, StoreError
from model_store.store_url import StoreUrl

MAX_REDIRECTIONS = 4
_ASKING: Command = ("ASKING",)


class ClusterClient(StoreClient):
    """Calls with a common limit to the nodes of a cluster.

    Args:
        url: of the cluster.
        timeout_s: default and maximum limit of a call.
        state: records whether all nodes answer; may be None.
        on_takeover: awaited with slots that another node has now, before it is used for them.
    """

    is_cluster = True

    def __init__(
        self,
        url: StoreUrl,
        *,
        timeout_s: float,
        state: StoreState | None = None,
        on_takeover: Takeover | None = None,
    ) -> None:
        self.timeout_s = timeout_s
        self._nodes = ClusterNodes(url, timeout_s=timeout_s, state=state, on_takeover=on_takeover)

    async def call(self, commands: Sequence[Command], limit_s: float | None = None) -> list[Any]:
        """See `StoreClient`; where all nodes that are asked are away, that is raised.

        Commands without a key, such as SCRIPT LOAD, go to all nodes that the others go to.
        """
        nodes = self._nodes
        if not nodes.owners:
            await nodes.learn(self.timeout_s if limit_s is None else min(limit_s, self.timeout_s))
        sent: list[Command] = []
        keyless: list[int] = []
        parts: dict[ServerClient | None, list[int]] = {}
        for place, command in enumerate(commands):
            one, slot = routed(command)
            sent.append(one)
            if slot is None:
                keyless.append(place)
            elif (owner := nodes.owners[slot]) in parts:
                parts[owner].append(place)
            else:
                parts[owner] = [place]
        if len(parts) == 1 and not keyless and None not in parts:
            [client] = parts
            replies = await client.call(sent, limit_s)  # type: ignore[union-attr]
        else:
            replies = await self._call_each(sent, keyless, parts, limit_s)
        for reply in replies:
            if isinstance(reply, Exception):
                return await self._settle(sent, keyless, replies, limit_s)
        return replies

    async def probe(self, *further: Command) -> list[Any]:
        """See `StoreClient`: a read and a write on each primary, the worst replies of all."""
        if not self._nodes.owners:
            await self._nodes.learn(self.timeout_s)
        try:
            worst = await self._nodes.probe()
        except StoreAway as error:
            self._nodes.note_trouble(str(error))
            raise
        return [*worst, *(await self.call(further) if further else ())]

    def close(self) -> None:
        """End all connections."""
        self._nodes.close()

    async def _call_each(
        self,
        sent: Sequence[Command],
        keyless: Sequence[int],
        parts: dict[ServerClient | None, list[int]],
        limit_s: float | None,
    ) -> list[Any]:
        """Ask several nodes at once; the replies in order, StoreAway for those of one away."""
        replies: list[Any] = [StoreAway("no node of the cluster has this slot")] * len(sent)
        parts = parts or {self._nodes.any_client(): []}
        asked = [
            (client, [*keyless, *places]) for client, places in parts.items() if client is not None
        ]
        is_usual = limit_s is None or limit_s >= self.timeout_s
        calls: list[Awaitable[list[Any]]] = []
        for client, places in asked:
            commands = [sent[at] for at in places]
            # Without a task for each node.
            calls.append((is_usual and client.send(commands)) or client.call(commands, limit_s))
        found = await asyncio.gather(*calls, return_exceptions=True)
        for (_, places), result in zip(asked, found, strict=True):
            if isinstance(result, BaseException) and not isinstance(result, StoreError):
                raise result
            for number, at in enumerate(places):
                replies[at] = result if isinstance(result, StoreError) else result[number]
        return replies

    async def _settle(
        self,
        sent: Sequence[Command],
        keyless: Sequence[int],
        replies: list[Any],
        limit_s: float | None,
    ) -> list[Any]:
        """Follow redirections; nodes that are down count as away.

        Raises:
            StoreError: all nodes that were asked are away.
        """
        for _ in range(MAX_REDIRECTIONS):
            targets = self._targets(replies)
            if not targets:
                break
            if any(not is_asking for _, is_asking in targets):
                await self._nodes.look_again()
            for (host, is_asking), places in targets.items():
                await self._redirect(host, is_asking, sent, (keyless, places), replies, limit_s)
        problems = [reply for reply in replies if isinstance(reply, StoreError)]
        if len(problems) == len(replies):
            raise problems[0]
        return replies

    def _targets(self, replies: list[Any]) -> dict[tuple[Host, bool], list[int]]:
        """Positions of redirected commands by node, and whether it has to be told (ASKING).

        Replies of nodes that are down become StoreAway.
        """
        targets: dict[tuple[Host, bool], list[int]] = {}
        for place, reply in enumerate(replies):
            if not isinstance(reply, hiredis.ReplyError):
                continue
            line = str(reply)
            code = code_of(line)
            if code in ("MOVED", "ASK"):
                host = redirection(line)
                targets.setdefault((host, code == "ASK"), []).append(place)
            elif code in DOWN:
                replies[place] = StoreAway(line)
                self._nodes.note_trouble(line)
        return targets

    async def _redirect(
        self,
        host: Host,
        is_asking: bool,
        sent: Sequence[Command],
        places: tuple[Sequence[int], Sequence[int]],
        replies: list[Any],
        limit_s: float | None,
    ) -> None:
        """Send commands to another node, after those without a key; changes their replies."""
        keyless, redirected = places
        commands = [sent[at] for at in keyless]
        for at in redirected:
            commands += (_ASKING, sent[at]) if is_asking else (sent[at],)
        try:
            found = await self._nodes.client_of(host).call(commands, limit_s)
        except StoreError as error:
            for at in redirected:
                replies[at] = error
            return
        found = found[len(keyless) :]
        for at, reply in zip(redirected, found[1::2] if is_asking else found, strict=True):
            replies[at] = reply
