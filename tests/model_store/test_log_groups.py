"""Readers of a log get all of it, each for itself, and it is removed when all have it."""

from __future__ import annotations

import pytest
import redis

from model_store.log_groups import (
    NEW,
    PENDING,
    acknowledge,
    make_group,
    read_group,
    remove_group,
    remove_read,
)

KEY = "lt:log:0"


def add(client: redis.Redis, n: int) -> list[bytes]:
    return [client.xadd(KEY, {"u": f"u{number}"}) for number in range(n)]  # type: ignore[misc]


def take(client: redis.Redis, group: str, at_most: int = 100, start: str = NEW) -> list[bytes]:
    return [entry_id for entry_id, _ in read_group(KEY, group, start, at_most, client)]


def left(client: redis.Redis) -> list[bytes]:
    return [entry_id for entry_id, _ in client.xrange(KEY)]  # type: ignore[union-attr]


@pytest.mark.parametrize(("first", "second"), [("a", "b"), ("b", "a")])
def test_an_entry_stays_until_both_have_it(client: redis.Redis, first: str, second: str) -> None:
    for group in ("a", "b"):
        make_group(KEY, group, client)
    sent = add(client, 3)
    acknowledge(KEY, first, take(client, first), client)
    assert left(client) == sent
    later = add(client, 1)
    assert take(client, second, 2) == sent[:2]
    acknowledge(KEY, second, sent[:1], client)
    assert left(client) == sent[1:] + later  # what is read and not acknowledged stays
    acknowledge(KEY, second, sent[1:2], client)
    assert left(client) == sent[2:] + later
    acknowledge(KEY, second, take(client, second), client)
    assert left(client) == later
    acknowledge(KEY, first, take(client, first), client)
    assert left(client) == []


def test_a_gap_in_what_is_acknowledged_holds_back_what_follows(client: redis.Redis) -> None:
    make_group(KEY, "a", client)
    sent = add(client, 4)
    take(client, "a")
    acknowledge(KEY, "a", [sent[0], sent[2], sent[3]], client)
    assert left(client) == sent[1:]
    assert take(client, "a", start=PENDING) == [sent[1]]
    acknowledge(KEY, "a", [sent[1]], client)
    assert left(client) == []


def test_a_kill_after_the_acknowledgement_leaves_nothing_for_ever(client: redis.Redis) -> None:
    make_group(KEY, "a", client)
    sent = add(client, 2)
    client.xack(KEY, "a", *take(client, "a"))
    assert left(client) == sent
    later = add(client, 1)
    acknowledge(KEY, "a", take(client, "a"), client)
    assert left(client) == []
    assert later


def test_a_new_group_holds_what_is_there_and_loses_nothing(client: redis.Redis) -> None:
    make_group(KEY, "a", client)
    sent = add(client, 2)
    make_group(KEY, "b", client)
    make_group(KEY, "b", client)
    acknowledge(KEY, "a", take(client, "a"), client)
    assert left(client) == sent
    assert take(client, "b") == sent


def test_what_waited_for_a_removed_group_goes(client: redis.Redis) -> None:
    assert not remove_group(KEY, "b", client)
    for group in ("a", "b"):
        make_group(KEY, group, client)
    sent = add(client, 2)
    acknowledge(KEY, "a", take(client, "a", 1), client)
    assert left(client) == sent
    assert remove_group(KEY, "b", client)
    assert not remove_group(KEY, "b", client)
    assert left(client) == sent[1:]


def test_without_a_group_all_waits_for_the_first(client: redis.Redis) -> None:
    sent = add(client, 2)
    remove_read(KEY, client)
    assert left(client) == sent
