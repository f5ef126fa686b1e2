"""Names of keys in a cluster: whose lie in one slot, whatever the ids."""

from __future__ import annotations

import inspect

from hypothesis import given
from hypothesis import strategies as st
from redis.crc import key_slot

from model_store import keys
from model_store.cluster_commands import named, routed
from model_store.event_log import N_SHARDS, log_keys
from model_store.exposure_log import exposure_keys

IDS = st.text(st.sampled_from("{}:a*uü"), min_size=1, max_size=8)


@given(IDS, st.sampled_from(["v1", "2026-11-30-1"]))
def test_what_a_request_reads_of_a_user_lies_in_one_slot(user_id: str, version: str) -> None:
    plain = [
        keys.user_key(version, user_id),
        keys.events_key(user_id),
        keys.served_key(user_id),
    ]
    names, slots = zip(*map(keys.in_cluster, plain), strict=True)
    [slot] = {*slots}
    assert {key_slot(name.encode()) for name in names} == {slot}
    assert {keys.slot_of(name) for name in names} == {slot}
    # Nothing is lost of a name: two users never share a key.
    assert [name.replace("{", "", 1)[:-1] for name in names] == plain
    assert names[0].startswith(keys.version_pattern(version)[:-1])


@given(IDS, IDS)
def test_two_users_have_two_keys(one: str, other: str) -> None:
    names = {keys.in_cluster(keys.events_key(user_id)) for user_id in (one, other)}
    assert len(names) == len({one, other})


def test_all_that_is_no_user_s_lies_in_one_slot() -> None:
    constants = [
        value
        for name, value in vars(keys).items()
        if name.isupper() and isinstance(value, str) and not name.startswith("_")
    ]
    made = [
        make(*(1 if "int" in str(one.annotation) else "a-1" for one in parameters.values()))
        for name, make in vars(keys).items()
        if name.endswith("_key")
        and name not in ("event_log_key", "exposure_log_key")
        and "user_id" not in (parameters := inspect.signature(make).parameters)
    ]
    assert len(constants) > 8
    assert len(made) > 8
    slots = {keys.in_cluster(key)[1] for key in (*constants, *made)}
    assert slots == {key_slot(b"lt")}


def test_the_streams_of_a_log_lie_apart() -> None:
    for streams in (log_keys(), exposure_keys()):
        assert len({keys.in_cluster(key)[1] for key in streams}) == N_SHARDS


def test_commands_with_their_keys_as_in_a_cluster() -> None:
    user, models = "lt:events{:u{1}", "lt:models{lt}"
    for command, expected, key in [
        (("ZRANGE", "lt:events:u{1", 0, -1), ("ZRANGE", user, 0, -1), user),
        (("EVALSHA", "sha", 1, "lt:events:u{1", "lt:x"), ("EVALSHA", "sha", 1, user, "lt:x"), user),
        (("EVALSHA", "s", 2, "lt:models", "lt:a"), ("EVALSHA", "s", 2, models, "lt:a{lt}"), models),
        (("HGET", "lt:models", "lt:models"), ("HGET", models, "lt:models"), models),
        (("DEL", "lt:models", "lt:a"), ("DEL", models, "lt:a{lt}"), models),
    ]:
        assert routed(command) == (expected, keys.slot_of(key))
        assert tuple(named(command)) == expected
    assert routed(("PING",)) == (("PING",), None)
    assert routed(("SCRIPT", "LOAD", "lt:x")) == (("SCRIPT", "LOAD", "lt:x"), None)
    assert named(("SCRIPT LOAD", "return 1")) == ["SCRIPT LOAD", "return 1"]
    assert named(("XREADGROUP", b"GROUP", "g", "c", b"STREAMS", "lt:log:3", b">"))[5:] == [
        "lt:log{:3}",
        b">",
    ]
    # What was read from the cluster has its tag already.
    assert named(("UNLINK", b"lt:models{lt}")) == ["UNLINK", b"lt:models{lt}"]
