"""The reranker's answers in a real store: bounded, gone with their version, and never an error."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import redis

from app.store.rerank_cache import MAX_REMOVED, RerankCache
from app.store.server_client import ServerClient
from model_store import keys
from model_store.embedded import EmbeddedStore
from model_store.forgotten import note_forgotten
from model_store.rerank_codec import CachedAnswer, digest_of, encode_answer
from model_store.store_url import StoreUrl
from tests.app.store.conftest import stopped
from tests.app.store.link import linked

VERSION = "v-1"
NOW_S = 1_700_000_000
LIMITS = {"max_age_s": 1_000, "max_entries": 5}


def answer(number: int, written_s: int = NOW_S) -> CachedAnswer:
    return CachedAnswer(np.array([number, 1], np.float32), f"u{number}", written_s)


def digest(number: int) -> bytes:
    return digest_of(VERSION, [number], [1, 2])


def run(url: str, work: Callable[[RerankCache], Awaitable[Any]], timeout_s: float = 5.0) -> Any:
    async def go() -> Any:
        client = ServerClient(StoreUrl.parse(url), timeout_s=timeout_s)
        try:
            return await work(RerankCache(client, client))
        finally:
            client.close()

    return asyncio.run(go())


def read(url: str, *numbers: int) -> list[str | None]:
    """The similar users of the answers."""
    found = run(url, lambda cache: cache.read(VERSION, [*map(digest, numbers)], 5.0))
    return [one and one.similar_user for one in found]


def write(url: str, *answers: tuple[int, CachedAnswer], **limits: int) -> list[bool]:
    async def go(cache: RerankCache) -> list[bool]:
        return [
            await cache.write(VERSION, digest(number), one, **{**LIMITS, **limits})
            for number, one in answers
        ]

    done: list[bool] = run(url, go)
    return done


@pytest.fixture
def url(store: EmbeddedStore, client: redis.Redis) -> str:
    """An emptied store in which the version is published."""
    client.hset(keys.MODELS, VERSION, "{}")
    return store.url


def test_an_answer_is_kept_without_the_forgotten_person_whom_it_cites(
    url: str, client: redis.Redis
) -> None:
    note_forgotten("u1", client)
    nobody = replace(answer(3), similar_user=None)
    assert write(url, (1, answer(1)), (2, answer(2)), (3, nobody)) == [True, True, True]
    assert read(url, 1, 2, 3) == [None, "u2", None]
    [found] = run(url, lambda cache: cache.read(VERSION, [digest(1)], 5.0))
    assert found.scores.tolist() == [1, 1]


def test_answers_come_back(url: str, client: redis.Redis) -> None:
    client.script_flush()  # as after a restart of the store
    assert write(url, (1, answer(1)), (2, answer(2))) == [True, True]
    assert read(url, 2, 3, 1) == ["u2", None, "u1"]
    assert write(url, (1, answer(7))) == [True]
    assert read(url, 1) == ["u7"]
    [found] = run(url, lambda cache: cache.read(VERSION, [digest(2)], 5.0))
    assert found.scores.tolist() == [2, 1]
    assert found.written_s == NOW_S


def test_the_oldest_go_where_there_are_too_many(url: str, client: redis.Redis) -> None:
    write(url, *((n, answer(n, NOW_S + n)) for n in range(9)))
    assert read(url, *range(9)) == [None] * 4 + [f"u{n}" for n in range(4, 9)]
    assert client.hlen(keys.rerank_key(VERSION)) == 5
    # A lower limit is reached in steps, whatever there is.
    write(url, *((n, answer(n, NOW_S + n)) for n in range(10, 260)), max_entries=1_000)
    write(url, (300, answer(300, NOW_S + 300)))
    assert client.hlen(keys.rerank_key(VERSION)) == 256 - MAX_REMOVED
    write(url, *((n, answer(n, NOW_S + n)) for n in range(301, 304)))
    assert (
        client.hlen(keys.rerank_key(VERSION)) == client.zcard(keys.rerank_times_key(VERSION)) == 5
    )


def test_old_answers_go_and_so_does_an_unused_cache(url: str, client: redis.Redis) -> None:
    write(url, (1, answer(1, NOW_S)), (2, answer(2, NOW_S + 1)))
    write(url, (3, answer(3, NOW_S + 1_000)))
    assert read(url, 1, 2, 3) == [None, "u2", "u3"]
    for key in (keys.rerank_key(VERSION), keys.rerank_times_key(VERSION)):
        assert 990 <= client.ttl(key) <= 1_000


def test_a_retired_version_stays_gone(url: str, client: redis.Redis) -> None:
    write(url, (1, answer(1)))
    client.hdel(keys.MODELS, VERSION)
    client.delete(*client.keys(keys.version_pattern(VERSION)))
    assert write(url, (2, answer(2))) == [False]
    assert client.keys("lt:v:*") == []


@pytest.mark.parametrize("lost", [keys.rerank_key, keys.rerank_times_key])
def test_a_store_that_lost_one_of_the_keys_begins_anew(
    url: str, client: redis.Redis, lost: Callable[[str], str]
) -> None:
    write(url, (1, answer(1)), (2, answer(2)))
    client.delete(lost(VERSION))
    assert write(url, (3, answer(3))) == [True]
    assert read(url, 1, 2, 3) == [None, None, "u3"]
    assert (
        client.hlen(keys.rerank_key(VERSION)) == client.zcard(keys.rerank_times_key(VERSION)) == 1
    )


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        b"R1",
        b"R2" + encode_answer(answer(1))[2:],
        encode_answer(answer(1))[:12],
        encode_answer(CachedAnswer(np.array([np.nan, 1], np.float32), None, NOW_S)),
        encode_answer(CachedAnswer(np.zeros(2, np.float32), None, NOW_S)) + b"more",
        b"R1\x02\x01" + b"\0" * 12 + b"\xff",
    ],
)
def test_a_damaged_value_is_a_miss(url: str, client: redis.Redis, damaged: bytes) -> None:
    write(url, (1, answer(1)), (2, answer(2)))
    client.hset(keys.rerank_key(VERSION), digest(1), damaged)
    assert read(url, 1, 2) == [None, "u2"]
    assert write(url, (1, answer(4))) == [True]
    assert read(url, 1) == ["u4"]


def test_foreign_values_are_a_miss_and_logged_once(
    url: str, client: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    client.set(keys.rerank_key(VERSION), "mine")

    async def go(cache: RerankCache) -> list[Any]:
        return [
            await cache.read(VERSION, [digest(1)], 5.0),
            *[await cache.write(VERSION, digest(1), answer(1), **LIMITS) for _ in range(3)],
        ]

    assert run(url, go) == [[None], False, False, False]
    assert len(caplog.records) == 1
    assert "WRONGTYPE" in caplog.text
    assert client.get(keys.rerank_key(VERSION)) == b"mine"


def test_a_store_that_is_away_or_hangs_is_a_miss(own_store: EmbeddedStore) -> None:
    with stopped(own_store):
        assert run(
            own_store.url, lambda cache: cache.read(VERSION, [digest(1)] * 2, 0.05), 0.1
        ) == [None, None]
        assert not run(
            own_store.url, lambda cache: cache.write(VERSION, digest(1), answer(1), **LIMITS), 0.1
        )
    with linked(reply=lambda _: b"-LOADING it is reading its file\r\n") as link:
        assert run(link.url, lambda cache: cache.read(VERSION, [digest(1)], 0.5), 0.5) == [None]
