"""How values lie in the store: binary, little-endian, each with a format byte of its own.

user blob    b"U1\\0\\0" | uint32 n | float64 timestamps [n] | int32 items [n]
event        b"E1" | float64 timestamp | float32 rating (NaN where there is none) | item_id, UTF-8
arrived      uint64 big-endian, microseconds of arrival | event: sorts events of one time by arrival
vector       float16 [K]; float32 [K] in stores that an earlier release filled
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from model_store.errors import StoreError

_USER_MAGIC = b"U1\0\0"
_USER_HEADER = struct.Struct("<4sI")
_EVENT = struct.Struct("<2sdf")
_EVENT_MAGIC = b"E1"
_ARRIVAL_BYTES = 8

TIME_AT = _ARRIVAL_BYTES + len(_EVENT_MAGIC)
"""Where the time begins in what `encode_arrived` writes."""
ITEM_ID_AT = _ARRIVAL_BYTES + _EVENT.size
"""Where the item id begins in what `encode_arrived` writes."""
MAX_RATING = 1e9
"""The largest rating; a float32 holds more than this."""


@dataclass(frozen=True)
class UserHistory:
    """A user's interactions, oldest to newest: item_index int32 [L], unix seconds float64 [L]."""

    items: npt.NDArray[np.int32]
    timestamps: npt.NDArray[np.float64]


@dataclass(frozen=True)
class Event:
    """One interaction as it happened, under external ids: it outlives versions."""

    item_id: str
    timestamp: float
    rating: float | None = None

    @property
    def identity(self) -> tuple[str, float]:
        """What two reports of the same event have in common; the one rule for that.

        The same item in the same second of the same user: data sets know whole seconds, and a
        service that reports an event twice may round its time differently.
        """
        return self.item_id, second_of(self.timestamp)


T = TypeVar("T", float, npt.NDArray[np.float64])


def second_of(timestamp: T) -> T:
    """The whole second that a time lies in, or each of several times."""
    return timestamp // 1


def encode_user(history: UserHistory) -> bytes:
    """A user's history as one blob, 12 bytes an interaction."""
    return b"".join(
        (
            _USER_HEADER.pack(_USER_MAGIC, len(history.items)),
            np.ascontiguousarray(history.timestamps, dtype="<f8").tobytes(),
            np.ascontiguousarray(history.items, dtype="<i4").tobytes(),
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
    start = _USER_HEADER.size
    if magic != _USER_MAGIC or len(blob) != start + 12 * n:
        raise StoreError(f"user blob of {len(blob)} bytes has an unknown format")
    return UserHistory(
        items=np.frombuffer(blob, dtype="<i4", count=n, offset=start + 8 * n),
        timestamps=np.frombuffer(blob, dtype="<f8", count=n, offset=start),
    )


def encode_event(event: Event) -> bytes:
    """An event without what depends on its arrival."""
    rating = math.nan if event.rating is None else event.rating
    return _EVENT.pack(_EVENT_MAGIC, event.timestamp, rating) + event.item_id.encode()


def decode_event(entry: bytes) -> Event:
    """Read what `encode_event` wrote.

    Raises:
        StoreError: the entry is cut short or of another format.
    """
    if len(entry) <= _EVENT.size or entry[:2] != _EVENT_MAGIC:
        raise StoreError(f"event of {len(entry)} bytes has an unknown format")
    _, timestamp, rating = _EVENT.unpack_from(entry)
    if not math.isfinite(timestamp):
        raise StoreError(f"event holds {timestamp}, which is no time")
    try:
        item_id = entry[_EVENT.size :].decode()
    except UnicodeDecodeError as error:
        raise StoreError("event holds an item id that is not UTF-8") from error
    return Event(item_id, timestamp, None if math.isnan(rating) else rating)


def encode_arrived(event: Event, arrival_us: int) -> bytes:
    """One member of a user's sorted set of events."""
    return arrival_us.to_bytes(_ARRIVAL_BYTES, "big") + encode_event(event)


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
