"""Who was forgotten, and when: kept by a digest of the id.

So a bundle from before, published again, and events that wait in a journal bring nothing back.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import cast

import redis

from model_store import keys
from model_store.codecs import UserHistory
from model_store.store import store_errors

# Times grow, so that workers which read those after the last one miss none.
NOTE = """
local now = redis.call('TIME')
local at = now[1] * 1000000 + now[2]
local newest = redis.call('ZREVRANGE', KEYS[1], 0, 0, 'WITHSCORES')[2]
if newest then at = math.max(at, newest + 1) end
redis.call('ZADD', KEYS[1], string.format('%.0f', at), ARGV[1])
return 1
"""


def digest_of_user(user_id: str) -> bytes:
    """What a forgotten person is remembered by: 16 bytes."""
    return hashlib.blake2b(user_id.encode("utf-8", "replace"), digest_size=16).digest()


def read_forgotten(client: redis.Redis) -> dict[bytes, float]:
    """When persons were forgotten, in unix seconds, by digest.

    Raises:
        StoreAway: the store can't be reached.
    """
    with store_errors():
        found = client.zrange(keys.FORGOTTEN, 0, -1, withscores=True)
    return {digest: at / 1e6 for digest, at in cast(list[tuple[bytes, float]], found)}


def forgotten_since(before: Mapping[bytes, float], client: redis.Redis) -> set[bytes]:
    """Digests of who was forgotten, or was again, since `before` was read.

    Raises:
        StoreAway: the store can't be reached.
    """
    return {one for one, at_s in read_forgotten(client).items() if before.get(one) != at_s}


def left_of(history: UserHistory, forgotten_at_s: float) -> UserHistory | None:
    """The interactions since a person was forgotten; None where there are none."""
    later = history.timestamps > forgotten_at_s
    if not later.any():
        return None
    kinds = None if history.kinds is None else history.kinds[later]
    return UserHistory(history.items[later], history.timestamps[later], kinds)


def note_forgotten(user_id: str, client: redis.Redis) -> None:
    """Note that a person is forgotten now.

    Raises:
        StoreAway: the store can't be reached.
    """
    with store_errors():
        client.register_script(NOTE)(keys=[keys.FORGOTTEN], args=[digest_of_user(user_id)])
