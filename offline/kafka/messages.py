"""Messages: an event as `POST /events` takes it, and an exposure as the archive has it, in JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from model_store.exposure_log import Exposure
from offline.event_archive.archive import Logged

_MAX_EPOCH_S = 1e11


class Unreadable(ValueError):  # noqa: N818 - says what a message is
    """A message is not an event; the text is the reason."""


@dataclass(frozen=True)
class Message:
    """A message to send.

    Attributes:
        key: the user's id: all of a user's messages lie in one partition, in order; None for an
            answer about nobody in particular.
        value: JSON.
        at_ms: its time, in unix milliseconds.
    """

    key: bytes | None
    value: bytes
    at_ms: int


def event_message(logged: Logged) -> Message:
    """An event as a message; what is not known of it is left out."""
    event = logged.event
    known: dict[str, Any] = {
        "user_id": logged.user_id,
        "item_id": event.item_id,
        "timestamp": event.timestamp,
        "type": event.type,
        "rating": event.rating,
        "value": event.value,
        "event_id": event.event_id,
        "request_id": event.request_id,
        "rank": event.rank,
    }
    return Message(logged.user_id.encode(), _json(known), logged.arrived_us // 1_000)


def exposure_message(shown: Exposure) -> Message:
    """An answer as a message, with the fields of the archive's columns."""
    drawn = shown.exploration
    known: dict[str, Any] = {
        "request_id": shown.request_id,
        "user_id": shown.user_id,
        "timestamp": shown.at_s,
        "version": shown.version,
        "arm": shown.arm,
        "model": shown.model,
        "served_by": shown.served_by,
        "item_ids": shown.item_ids,
        "temperature": None if drawn is None else drawn.temperature,
        "n_candidates": None if drawn is None else drawn.n_candidates,
        "log_propensities": None if drawn is None else drawn.log_propensities,
    }
    key = None if shown.user_id is None else shown.user_id.encode()
    return Message(key, _json(known), round(shown.at_s * 1e3))


def read_event(value: bytes | None, at_ms: int) -> bytes:
    """An event of a message, as JSON for `POST /events`, which knows the fields.

    An event without a time has that of its message: read again, it is the same event.

    Args:
        value: of the message.
        at_ms: its time, in unix milliseconds.

    Raises:
        Unreadable: it is not an event.
    """
    if value is None:
        raise Unreadable("it has no value")
    try:
        event = json.loads(value, parse_constant=_reject)
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"not JSON: {str(error)[:200]}") from None
    if not isinstance(event, dict):
        raise Unreadable("not a JSON object")
    for name, given in event.items():
        if isinstance(given, list | dict):
            raise Unreadable(f"{name[:100]!a} is a list or an object")
    if event.get("timestamp") is None and 0 <= at_ms / 1e3 <= _MAX_EPOCH_S:
        event["timestamp"] = at_ms / 1e3
    try:
        return json.dumps(event, ensure_ascii=False, allow_nan=False).encode()
    except ValueError as error:  # a number beyond all bounds, or half a character
        raise Unreadable(str(error)[:200]) from None


def _json(known: dict[str, Any]) -> bytes:
    fields = {name: value for name, value in known.items() if value is not None}
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode()


def _reject(constant: str) -> None:
    raise ValueError(f"{constant} is no number")
