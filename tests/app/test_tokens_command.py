"""`longtail tokens`, as people use it."""

from __future__ import annotations

import json

import pytest
import redis

import longtail
from model_store.embedded import EmbeddedStore
from model_store.tokens import Tokens, id_of
from tests.app.conftest import secret_of


@pytest.fixture(autouse=True)
def on_store(
    store: EmbeddedStore, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> redis.Redis:
    monkeypatch.setenv("LONGTAIL_REDIS_URL", store.url)
    return client


def test_a_token_is_shown_once(capsys: pytest.CaptureFixture[str], client: redis.Redis) -> None:
    made = longtail.main(["tokens", "create", "--role", "read", "--note", "grafana", "--days", "9"])
    shown = capsys.readouterr()
    token = shown.out.strip()
    number = id_of(token)
    assert (made, shown.out) == (0, f"{token}\n")
    assert number
    assert f"token {number} with the role read" in shown.err
    assert token not in shown.err
    [record] = Tokens(client).records()
    assert record.matches(token)

    assert longtail.main(["tokens", "list"]) == longtail.main(["tokens", "list", "--json"]) == 0
    table, _, document = capsys.readouterr().out.partition("{")
    assert table.split("\n")[1].split() == [
        *(number, "read", record.created, str(record.expires).replace(" ", "T"), "grafana")
    ]
    [listed] = json.loads("{" + document)["tokens"]
    assert set(listed) == {"id", "role", "note", "created", "expires", "per_minute"}
    for part in (secret_of(token), record.digest):
        assert part not in table + document

    assert longtail.main(["tokens", "revoke", number]) == 0
    assert Tokens(client).records() == []


def test_an_id_that_is_not_there_is_an_error_that_shows_nothing(
    capsys: pytest.CaptureFixture[str], client: redis.Redis
) -> None:
    _, token = Tokens(client).create("read")
    assert longtail.main(["tokens", "revoke", token]) == 1
    shown = capsys.readouterr()
    assert shown.err.count("\n") == 1
    assert token not in shown.out + shown.err
    assert len(Tokens(client).records()) == 1
