from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import redis

from model_store import keys
from model_store.embedded import EmbeddedStore
from model_store.errors import StoreError
from model_store.item_changes import ItemChange, ItemState, read_states, write_changes
from model_store.store import connect


def test_what_is_said_adds_up(client: redis.Redis) -> None:
    assert write_changes([ItemChange("a", attributes={"n": 1, "t": "x"})], client) == 1
    assert write_changes([ItemChange("a", False), ItemChange("a", None, {"n": 2})], client) == 1
    assert write_changes([ItemChange("a", False, {"n": 2}), ItemChange("b")], client) == 0
    assert read_states(["a", "b"], client) == {
        "a": ItemState(available=False, attributes={"n": 2, "t": "x"})
    }


def test_the_newest_change_has_the_largest_number(client: redis.Redis) -> None:
    for item_id in ("b", "c", "a"):
        write_changes([ItemChange(item_id, False)], client)
    write_changes([ItemChange("c", True)], client)
    assert client.zrange(keys.ITEM_CHANGES, 0, -1) == [b"b", b"a", b"c"]
    numbers = [score for _, score in client.zrange(keys.ITEM_CHANGES, 0, -1, withscores=True)]
    assert numbers == sorted(set(numbers))
    newest = numbers[-1]
    client.flushall()
    write_changes([ItemChange("b", False)], client)
    assert client.zscore(keys.ITEM_CHANGES, "b") > newest


def test_writers_at_one_time_lose_nothing(store: EmbeddedStore, client: redis.Redis) -> None:
    def write(number: int) -> int:
        own = connect(store.url)
        try:
            changes = [
                ItemChange(f"i{n}", attributes={f"from {number}": number}) for n in range(40)
            ]
            return sum(write_changes([one], own) for one in changes)
        finally:
            own.close()

    with ThreadPoolExecutor(4) as threads:
        assert sum(threads.map(write, range(4))) == 160
    states = read_states([f"i{n}" for n in range(40)], client)
    assert all(len(state.attributes) == 4 for state in states.values())


def test_a_damaged_state_is_named(client: redis.Redis) -> None:
    client.hset(keys.ITEM_STATES, "a", "[]")
    with pytest.raises(StoreError, match="not readable as the state of an item"):
        write_changes([ItemChange("a", False)], client)
