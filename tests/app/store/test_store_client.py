from __future__ import annotations

import asyncio

from app.store.server_client import ServerClient
from model_store.embedded import EmbeddedStore
from model_store.store_url import StoreUrl


def test_who_asks_nothing_gets_no_replies_and_waits_for_none(store: EmbeddedStore) -> None:
    async def go() -> list[list[object]]:
        client = ServerClient(StoreUrl.parse(store.url), timeout_s=5.0)
        try:
            return [await client.ask(("PING",)), await asyncio.wait_for(client.ask(), 0.5)]
        finally:
            client.close()

    assert asyncio.run(go()) == [[b"PONG"], []]
