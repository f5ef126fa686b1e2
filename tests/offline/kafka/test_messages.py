"""What a message means, and what is none."""

from __future__ import annotations

import json

import pytest

from model_store.codecs import Event
from offline.event_archive.archive import Logged
from offline.kafka.messages import Unreadable, event_message, read_event


def test_what_is_written_is_read() -> None:
    message = event_message(Logged("Zoë", Event("ü", 10.25, type="view", rank=3), 12_345_678))
    wanted = {"user_id": "Zoë", "item_id": "ü", "timestamp": 10.25, "type": "view", "rank": 3}
    assert (message.key, message.at_ms) == ("Zoë".encode(), 12_345)
    assert json.loads(read_event(message.value, message.at_ms)) == wanted


@pytest.mark.parametrize(("at_ms", "timestamp"), [(2_500, 2.5), (-1, None), (10**15, None)])
def test_an_event_without_a_time_has_that_of_its_message(
    at_ms: int, timestamp: float | None
) -> None:
    for undated in (b'{"user_id": "u"}', b'{"user_id": "u", "timestamp": null}'):
        assert json.loads(read_event(undated, at_ms)).get("timestamp") == timestamp


def test_a_time_of_its_own_stays() -> None:
    text = b'{"timestamp": "2026-01-31T09:30:00Z"}'
    assert json.loads(read_event(text, 2_500)) == json.loads(text)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "it has no value"),
        (b"", "not JSON"),
        (b"\xff", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[1]", "not a JSON object"),
        (b"1", "not a JSON object"),
        (b'{"events": []}', "'events' is a list or an object"),
        (b'{"rating": NaN}', "NaN is no number"),
        (b'{"rating": 1e999}', "Out of range"),
        (b'{"rating": 1' + b"0" * 5_000 + b"}", "not JSON"),
        (b'{"user_id": "\\ud800"}', "surrogates not allowed"),
    ],
)
def test_what_is_no_event(value: bytes | None, reason: str) -> None:
    with pytest.raises(Unreadable, match=reason):
        read_event(value, 0)
