"""How values lie in the store: binary, little-endian, each with a format byte of its own.

user blob    b"U1\\0\\0" | uint32 n | float64 timestamps [n] | int32 items [n]
typed blob   b"U2\\0\\0" | uint32 n | float64 timestamps [n] | int32 items [n] | uint16 kinds [n]
event        b"E1" | float64 timestamp | float32 rating (NaN where there is none) | item_id, UTF-8:
             an interaction of which nothing else is known
typed event  b"E2" | float64 timestamp | float32 rating | uint16 bytes of item_id, type, event_id |
             item_id | type ("" for "interaction") | event_id ("" for none), UTF-8 |
             JSON of value, request_id, rank: those that are there
arrived      uint64 big-endian, microseconds of arrival | event: sorts events of one time by arrival
vector       float16 [K]; float32 [K] in stores that an earlier release filled
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from model_store.errors import StoreError
from model_store.event_rules import INTERACTION, MAX_TYPES

_USER_MAGIC = b"U1\0\0"
_TYPED_USER_MAGIC = b"U2\0\0"
_USER_HEADER = struct.Struct("<4sI")
_EVENT = struct.Struct("<2sdf")
_EVENT_MAGIC = b"E1"
_TYPED_EVENT = struct.Struct("<2sdfHHH")
_TYPED_MAGIC = b"E2"
_ARRIVAL_BYTES = 8

TIME_AT = _ARRIVAL_BYTES + len(_EVENT_MAGIC)
"""Where the time begins in what `encode_arrived` writes."""
ITEM_ID_AT = _ARRIVAL_BYTES + _EVENT.size
"""Where the item id of an event without a type begins in what `encode_arrived` writes."""
LENGTHS_AT, TYPED_ID_AT = _ARRIVAL_BYTES + _EVENT.size, _ARRIVAL_BYTES + _TYPED_EVENT.size
"""Where the three lengths and the item id of a typed event begin there."""
MAX_RATING = 1e9
"""The largest rating; a float32 holds more than this."""


@dataclass(frozen=True)
class UserHistory:
    """A user's interactions, oldest to newest: item_index int32 [L], unix seconds float64 [L].

    Attributes:
        kinds: uint16 [L], of each `kind_number`; None: all are positive, of the type INTERACTION.
    """

    items: npt.NDArray[np.int32]
    timestamps: npt.NDArray[np.float64]
    kinds: npt.NDArray[np.uint16] | None = None

    def positive(self) -> UserHistory:
        """Those that are history, without their kinds."""
        if self.kinds is None:
            return self
        chosen = self.kinds < _NEGATIVE_KIND
        return UserHistory(self.items[chosen], self.timestamps[chosen])

    def negative(self) -> list[tuple[int, float]]:
        """item_index and time of the negative ones."""
        if self.kinds is None:
            return []
        chosen = (self.kinds >= _NEGATIVE_KIND) & (self.kinds < _CONTEXT_KIND)
        pairs = zip(self.items[chosen].tolist(), self.timestamps[chosen].tolist(), strict=True)
        return [*pairs]

    def by_type(self, types: Sequence[str]) -> dict[str, npt.NDArray[np.int32]]:
        """item_indices by type.

        Args:
            types: their names by number.

        Raises:
            StoreError: a number has no name.
        """
        if self.kinds is None:
            return {INTERACTION: self.items}
        numbers = self.kinds % MAX_TYPES
        present = np.unique(numbers).tolist()
        if present and present[-1] >= len(types):
            raise StoreError(f"user blob holds type {present[-1]} of {len(types)} types")
        return {types[number]: self.items[numbers == number] for number in present}

    def described_kinds(self, types: Sequence[str]) -> list[dict[str, str]]:
        """Each one's type, unless its number has no name, and what it was taken for."""
        described = []
        for kind in [] if self.kinds is None else self.kinds.tolist():
            meaning, number = divmod(kind, MAX_TYPES)
            named = {"type": types[number]} if number < len(types) else {}
            described.append({**named, "kind": MEANINGS[meaning]})
        return described


# Types are numbered below MAX_TYPES; above it stands whether they are positive (0), negative (1) or
# context only (2).
MEANINGS = ("positive", "negative", "context")
_NEGATIVE_KIND, _CONTEXT_KIND = MAX_TYPES, 2 * MAX_TYPES


def kind_numbers(
    types: npt.NDArray[np.integer], weights: npt.NDArray[np.floating]
) -> npt.NDArray[np.uint16]:
    """Kinds uint16 [n], of interactions whose types have numbers and whose weights are known.

    Args:
        types: [n], below MAX_TYPES.
        weights: [n], as `EventRules.weigh` answers.
    """
    meaning = np.where(weights > 0, 0, np.where(weights < 0, _NEGATIVE_KIND, _CONTEXT_KIND))
    return (types + meaning).astype(np.uint16)


@dataclass(frozen=True, slots=True)
class Event:
    """One interaction as it happened, under external ids: it outlives versions.

    Attributes:
        type: a free word; `EventRules.weigh` tells what it means.
        value: a number of the caller's, such as a price.
        event_id: the caller's name of the event; of several with one name the first counts.
        request_id, rank: the answer that it follows, and where the item stood there.
    """

    item_id: str
    timestamp: float
    rating: float | None = None
    type: str = INTERACTION
    value: float | None = None
    event_id: str | None = None
    request_id: str | None = None
    rank: int | None = None

    @property
    def identity(self) -> tuple[str, float, str]:
        """What two reports of the same event have in common, besides an equal `event_id`.

        The same item and type in the same second of the same user: data sets know whole seconds,
        and a service that reports an event twice may round its time differently.
        """
        return self.item_id, second_of(self.timestamp), self.type

    def details(self) -> dict[str, float | str]:
        """Those of value, request_id and rank that are there."""
        given = (("value", self.value), ("request_id", self.request_id), ("rank", self.rank))
        return {name: detail for name, detail in given if detail is not None}


def first_reports(events: Iterable[Event]) -> list[Event]:
    """The events without repeats, which have the identity or the event_id of an earlier one."""
    seen: set[object] = set()
    first = []
    for event in events:
        if event.identity in seen or (event.event_id is not None and event.event_id in seen):
            continue
        seen.add(event.identity)
        if event.event_id is not None:
            seen.add(event.event_id)
        first.append(event)
    return first


T = TypeVar("T", float, npt.NDArray[np.float64])


def second_of(timestamp: T) -> T:
    """The whole second that a time lies in, or each of several times."""
    return timestamp // 1


def encode_user(history: UserHistory) -> bytes:
    """A user's history as one blob, 12 bytes an interaction, and 2 for its kind."""
    kinds = history.kinds
    magic = _USER_MAGIC if kinds is None else _TYPED_USER_MAGIC
    return b"".join(
        (
            _USER_HEADER.pack(magic, len(history.items)),
            np.ascontiguousarray(history.timestamps, dtype="<f8").tobytes(),
            np.ascontiguousarray(history.items, dtype="<i4").tobytes(),
            b"" if kinds is None else np.ascontiguousarray(kinds, dtype="<u2").tobytes(),
        )
    )


def decode_user(blob: bytes) -> UserHistory:
    """Read what `encode_user` wrote; the arrays are views into the blob.

    Raises:
        StoreError: the blob is cut short or of another format.
    """
    if len(blob) < _USER_HEADER.size:
        raise StoreError(f"user blob of {len(blob)} bytes is cut short")
    magic, n = _USER_HEADER.unpack_from(blob)
    start, row_bytes = _USER_HEADER.size, {_USER_MAGIC: 12, _TYPED_USER_MAGIC: 14}.get(magic)
    if row_bytes is None or len(blob) != start + row_bytes * n:
        raise StoreError(f"user blob of {len(blob)} bytes has an unknown format")
    kinds = None
    if row_bytes == 14:
        kinds = np.frombuffer(blob, dtype="<u2", count=n, offset=start + 12 * n)
    return UserHistory(
        np.frombuffer(blob, dtype="<i4", count=n, offset=start + 8 * n),
        np.frombuffer(blob, dtype="<f8", count=n, offset=start),
        kinds,
    )


def encode_event(event: Event) -> bytes:
    """An event without what depends on its arrival."""
    rating = math.nan if event.rating is None else event.rating
    details = event.details()
    if event.type == INTERACTION and event.event_id is None and not details:
        return _EVENT.pack(_EVENT_MAGIC, event.timestamp, rating) + event.item_id.encode()
    event_type = "" if event.type == INTERACTION else event.type
    texts = [text.encode() for text in (event.item_id, event_type, event.event_id or "")]
    head = _TYPED_EVENT.pack(_TYPED_MAGIC, event.timestamp, rating, *map(len, texts))
    tail = json.dumps(details, separators=(",", ":")).encode() if details else b""
    return head + b"".join(texts) + tail


def decode_event(entry: bytes) -> Event:
    """Read what `encode_event` wrote, in this release or an earlier one.

    Raises:
        StoreError: the entry is cut short or of another format.
    """
    try:
        if len(entry) > _EVENT.size and entry[:2] == _EVENT_MAGIC:
            _, timestamp, rating = _EVENT.unpack_from(entry)
            event = Event(
                entry[_EVENT.size :].decode(), timestamp, None if math.isnan(rating) else rating
            )
        elif len(entry) > _TYPED_EVENT.size and entry[:2] == _TYPED_MAGIC:
            event = _decode_typed(entry)
        else:
            raise StoreError(f"event of {len(entry)} bytes has an unknown format")
    except UnicodeDecodeError as error:
        raise StoreError("event holds a text that is not UTF-8") from error
    if not math.isfinite(event.timestamp):
        raise StoreError(f"event holds {event.timestamp}, which is no time")
    return event


def _decode_typed(entry: bytes) -> Event:
    _, timestamp, rating, *lengths = _TYPED_EVENT.unpack_from(entry)
    texts, start = [], _TYPED_EVENT.size
    for length in lengths:
        texts.append(entry[start : start + length].decode())
        start += length
    item_id, event_type, event_id = texts
    if not item_id or start > len(entry):
        raise StoreError(f"event of {len(entry)} bytes is cut short")
    try:
        details = json.loads(entry[start:]) if start < len(entry) else {}
        return Event(
            item_id,
            timestamp,
            None if math.isnan(rating) else rating,
            event_type or INTERACTION,
            details.get("value"),
            event_id or None,
            details.get("request_id"),
            details.get("rank"),
        )
    except (ValueError, AttributeError) as error:
        if isinstance(error, UnicodeDecodeError):
            raise
        raise StoreError(f"event of {len(entry)} bytes has details that can't be read") from error


def encode_arrived(event: Event, arrival_us: int) -> bytes:
    """One member of a user's sorted set of events."""
    return arrival_us.to_bytes(_ARRIVAL_BYTES, "big") + encode_event(event)


def encode_all_arrived(events: Sequence[Event], arrival_us: int) -> list[bytes]:
    """The member of each of a user's events, of which the first arrived then; in their order."""
    return [encode_arrived(event, arrival_us + place) for place, event in enumerate(events)]


def decode_arrived(member: bytes) -> Event:
    """Read what `encode_arrived` wrote.

    Raises:
        StoreError: the member is cut short or of another format.
    """
    return decode_event(member[_ARRIVAL_BYTES:])


def encode_vector(vector: npt.NDArray[np.float32]) -> bytes:
    """A knowledge vector [K] as float16: 2 K bytes.

    Rounding changes each number by at most 2**-11 of it (below 6e-5: by 3e-8). A number beyond
    65,504 becomes infinity, which `decode_vector` rejects.
    """
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(vector, dtype="<f2").tobytes()


def decode_vector(blob: bytes, size: int) -> npt.NDArray[np.float32]:
    """Read what `encode_vector` wrote, or the float32 of earlier releases: float32 [K].

    Args:
        blob: 2 K or 4 K bytes.
        size: K.

    Raises:
        StoreError: it isn't `size` numbers long, or holds NaN or infinity.
    """
    dtype = {2 * size: "<f2", 4 * size: "<f4"}.get(len(blob))
    if dtype is None:
        raise StoreError(f"vector of {len(blob)} bytes, expected {2 * size}")
    vector = np.frombuffer(blob, dtype=dtype).astype(np.float32)
    if not np.isfinite(vector).all():
        raise StoreError("vector holds NaN or infinity")
    return vector
