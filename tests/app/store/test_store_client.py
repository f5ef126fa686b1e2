"""Connections of a client: opened for who asks, and none is left behind."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from app.store import primary as primary_module
from app.store.primary import Primary
from app.store.server_client import ServerClient
from model_store.embedded import EmbeddedStore
from model_store.store_url import StoreUrl

PING = ("PING",)


def test_who_asks_nothing_gets_no_replies_and_waits_for_none(store: EmbeddedStore) -> None:
    async def go() -> list[list[object]]:
        client = ServerClient(StoreUrl.parse(store.url), timeout_s=5.0)
        try:
            return [await client.ask(PING), await asyncio.wait_for(client.ask(), 10)]
        finally:
            client.close()

    assert asyncio.run(go()) == [[b"PONG"], []]


@pytest.mark.parametrize(("part", "error"), [("\ud800", UnicodeEncodeError), (None, TypeError)])
def test_a_command_that_cannot_be_sent_takes_nobody_elses_reply(
    store: EmbeddedStore, part: Any, error: type[Exception]
) -> None:
    async def go() -> list[Any]:
        client = ServerClient(StoreUrl.parse(store.url), timeout_s=5.0)
        try:
            await client.ask(PING)
            replies = await asyncio.gather(
                client.ask(("ECHO", "before")),
                client.ask(("ECHO", "beside"), ("ECHO", part)),
                client.ask(("ECHO", "after")),
                return_exceptions=True,
            )
            return [*replies, await client.ask(PING)]
        finally:
            client.close()

    before, failed, after, last = asyncio.run(go())
    assert isinstance(failed, error)
    assert (before, after, last) == ([b"before"], [b"after"], [b"PONG"])


@pytest.mark.parametrize("is_connecting", [True, False])
def test_a_retired_client_keeps_no_connection(store: EmbeddedStore, is_connecting: bool) -> None:
    """Retired while it connects; or asked once more by who still has it."""

    async def go() -> None:
        client = ServerClient(StoreUrl.parse(store.url), timeout_s=0.2)
        if is_connecting:
            asked = asyncio.create_task(client.call([PING]))
            await asyncio.sleep(0)
            client.retire()
            assert await asked == [b"PONG"]
        else:
            await client.call([PING])
            client.retire()
            await asyncio.sleep(0.01)
            assert await client.call([PING]) == [b"PONG"]
        await asyncio.sleep(0.3)
        assert client._connection is not None
        assert not client._connection.is_open

    asyncio.run(go())


class _Sentinel:
    """A connection to a Sentinel, or to the server that it names."""

    probed = (None, 0)
    is_open = True

    async def call_within(self, _commands: object, _limit_s: float) -> list[Any]:
        await asyncio.sleep(0)
        return [(b"10.0.0.1", b"6379")]

    def close(self) -> None:
        self.is_open = False


def test_two_who_ask_the_sentinels_at_once_share_a_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    opened: list[tuple[str, _Sentinel]] = []

    async def open_connection(url: StoreUrl, *_given: object, **_named: object) -> _Sentinel:
        await asyncio.sleep(0)
        opened.append((url.host, _Sentinel()))
        return opened[-1][1]

    monkeypatch.setattr(primary_module, "open_connection", open_connection)

    async def go() -> None:
        primary = Primary(StoreUrl.parse("redis+sentinel://watch:26379/shop"))
        await primary.open(1.0, answer_within_s=1.0)
        opened[0][1].close()  # as an outage does
        await asyncio.gather(primary.is_another(), primary.open(1.0, answer_within_s=1.0))

    asyncio.run(go())
    assert [host for host, _ in opened] == ["watch", "10.0.0.1", "watch", "10.0.0.1"]
