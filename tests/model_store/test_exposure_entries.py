"""Entries of the log of exposures in the store: appended, limited, and without who is forgotten."""

from __future__ import annotations

import json
from typing import Any

import pytest
import redis

from model_store import exposure_log
from model_store.deployments import DEFAULT
from model_store.errors import StoreError
from model_store.event_log import N_SHARDS, USER
from model_store.exposure_log import (
    LOAD,
    Exploration,
    Exposure,
    decode_exposures,
    exposure_key_of,
    exposures_command,
    exposures_of,
    forget_exposures,
)

KEY = exposure_key_of("u0")
USERS = [user for user in map("u{}".format, range(200)) if exposure_key_of(user) == KEY]


def shown(user_id: str, request_id: str) -> Exposure:
    return Exposure(request_id, user_id, 10.0, "v1", "", "model", ("i1", user_id))


def append(client: redis.Redis, *answers: Exposure, limit: int = 1_000) -> None:
    rows = [tuple(one) for one in answers]
    client.execute_command(*LOAD)  # type: ignore[no-untyped-call]
    command = exposures_command(KEY, rows, limit * N_SHARDS)  # type: ignore[arg-type]
    client.execute_command(*command)  # type: ignore[no-untyped-call]


def left(client: redis.Redis) -> list[str]:
    entries: Any = client.xrange(KEY)
    return [one.request_id for _, fields in entries for one in decode_exposures(fields)]


def test_the_limit_is_of_answers_not_of_entries(client: redis.Redis) -> None:
    for number in range(12):
        append(client, *(shown("u0", f"{number}-{n}") for n in range(5)), limit=20)
    assert left(client) == [f"{number}-{n}" for number in range(8, 12) for n in range(5)]
    append(client, shown("u0", "single"), limit=20)
    assert left(client)[0] == "8-0"  # without the oldest entry there would be less than the limit
    append(client, *(shown("u0", f"many-{n}") for n in range(50)), limit=20)
    assert len(left(client)) == 50


def test_entries_of_an_earlier_release_go_first(client: redis.Redis) -> None:
    document = json.dumps(["old", 1.0, "v", "", "model", []])
    for _ in range(3):
        client.xadd(KEY, {"u": "u0", "a": document})
    append(client, *(shown("u0", str(n)) for n in range(3)), limit=4)
    assert left(client) == ["old"] * 3 + ["0", "1", "2"]
    append(client, shown("u0", "3"), limit=4)
    assert left(client) == ["0", "1", "2", "3"]


def test_a_forgotten_person_leaves_entries_with_others(client: redis.Redis) -> None:
    a, b, c = USERS[:3]
    append(client, shown(a, "1"), shown(b, "2"), shown(a, "3"))
    append(client, shown(c, "4"))
    append(client, shown(a, "5"))
    client.xadd(KEY, {"u": a, "a": json.dumps(["6", 1.0, "v", "", "model", []])})
    assert [one.request_id for one in exposures_of(a, client)] == ["1", "3", "5", "6"]
    assert forget_exposures(a, client) == 4
    assert sorted(left(client)) == ["2", "4"]
    assert forget_exposures(a, client) == 0
    assert [one.request_id for one in exposures_of(b, client)] == ["2"]


def test_somebody_whose_id_is_an_items_is_not_taken_for_them(client: redis.Redis) -> None:
    append(client, shown(USERS[0], "1")._replace(item_ids=(USERS[1], "i")))
    assert list(exposures_of(USERS[1], client)) == []
    assert forget_exposures(USERS[1], client) == 0
    assert left(client) == ["1"]


def test_the_limit_holds_also_where_answers_were_written_again(client: redis.Redis) -> None:
    a, b = USERS[:2]
    append(client, shown(b, "first"), limit=20)
    for number in range(9):
        append(client, shown(a, f"a{number}"), shown(b, f"b{number}"), limit=20)
    assert forget_exposures(a, client) == 9
    assert left(client) == ["first", *(f"b{number}" for number in range(9))]
    for number in range(40):
        append(client, shown(b, f"c{number}"), limit=20)
        assert len(left(client)) <= 20
    assert left(client) == [f"c{number}" for number in range(20, 40)]


def test_two_persons_of_an_entry_are_forgotten_at_once(
    client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b, c = USERS[:3]
    append(client, shown(a, "1"), shown(b, "2"), shown(c, "3"))
    usual, calls = exposure_log.decode_exposures, []

    def decode(fields: Any) -> list[Exposure]:
        calls.append(fields)
        if len(calls) == 1:  # the entry is read; before it is replaced, the other one is forgotten
            assert forget_exposures(b, client) == 1
        return usual(fields)

    monkeypatch.setattr(exposure_log, "decode_exposures", decode)
    assert forget_exposures(a, client) == 1
    assert left(client) == ["3"]


@pytest.mark.parametrize(
    "document",
    ["", "[", "[1]", "[[]]", '[["r","u",1,"v","","m",["i"],{"temperature":1},"default"]]',
     '[["r","u",1,"v","","m",["i"],null,"a name"]]', '[["r","u",-1,"v","","m",["i"],null,"n"]]'],
)  # fmt: skip
def test_an_entry_that_is_none_is_an_error(document: str) -> None:
    with pytest.raises(StoreError, match="entry of "):
        decode_exposures({b"b": document.encode()})


def test_an_unreadable_entry_that_names_a_person_goes_with_them(client: redis.Redis) -> None:
    client.xadd(KEY, {"b": f'[["r","{USERS[0]}"'})
    client.xadd(KEY, {"b": "[[]]"})
    assert forget_exposures(USERS[0], client) == 0
    assert client.xlen(KEY) == 1


def test_half_a_character_is_nobodys_id(client: redis.Redis) -> None:
    append(client, shown(USERS[0], "1"))
    assert list(exposures_of("\ud800", client)) == []
    assert forget_exposures("\ud800", client) == 0


@pytest.mark.parametrize("model", [DEFAULT, "films"])
@pytest.mark.parametrize("drawn", [None, Exploration(0.5, 20, (-1 / 3, 0.0))])
@pytest.mark.parametrize("user_id", [None, "", 'ü{1}"'])
def test_an_answer_is_read_as_it_was_written(
    user_id: str | None, drawn: Exploration | None, model: str
) -> None:
    shown = Exposure("r", user_id, 12.5, "v1", "b", "model", ("i1", 'i"2'), drawn, model)
    other = shown._replace(request_id="r2", item_ids=(), exploration=None)
    rows = [tuple(shown), tuple(other)]
    document: Any = exposures_command("k", rows, 100)[-1]  # type: ignore[arg-type]
    assert decode_exposures({b"b": document}) == [shown, other]


def test_an_entry_of_an_earlier_release_is_read() -> None:
    document = b'["r",12.5,"v1","b","model",["i1","i2"],0.5,20,[-0.25,0.0]]'
    drawn = Exploration(0.5, 20, (-0.25, 0.0))
    shown = Exposure("r", "u1", 12.5, "v1", "b", "model", ("i1", "i2"), drawn, "films")
    assert decode_exposures({USER: b"u1", b"a": document, b"m": b"films"}) == [shown]
    document = b'["r",12.5,"v1","","model",[]]'
    assert decode_exposures({b"a": document}) == [Exposure("r", None, 12.5, "v1", "", "model", ())]


@pytest.mark.parametrize(
    "document",
    [
        "",
        "[]",
        '["r",1,"v","","model"]',
        '["r","x","v","","m",[]]',
        '["r",NaN,"v","","m",[]]',
        '["r",1e300,"v","","m",[]]',
        '["r",1,"v","","m",["i"],1.0,5]',
        '["r",1,"v","","m",["i"],1.0,5,[]]',
        '["r",1,"v","","m",["i"],0,5,[-1]]',
        '["r",1,"v","","m",["i"],1.0,5,[0.5]]',
        '["r",1,"v","","m",["i"],1.0,5,[-Infinity]]',
        '["r",1,"v","","m",["i"],1.0,5,[NaN]]',
        '["r",1,"v","","m",["i"],1.0,5,[-1,-1]]',
    ],
)
def test_an_entry_of_an_earlier_release_that_is_none_is_an_error(document: str) -> None:
    with pytest.raises(StoreError, match="entry of "):
        decode_exposures({USER: b"u1", b"a": document.encode()})


def test_a_name_that_is_none_is_an_error() -> None:
    with pytest.raises(StoreError, match="entry of "):
        decode_exposures({b"a": b'["r",1,"v","","m",["i"]]', b"m": b"a name"})
