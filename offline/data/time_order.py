"""Orders rows by user and time."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

Keys = npt.NDArray[np.uint64]
Order = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_KEY_BITS = 64
_CACHED_ROWS = 1 << 14


def order_by_time(users: npt.NDArray[np.integer], timestamps: npt.NDArray[np.floating]) -> Order:
    """Positions of rows by user, then by time, int64 [n]; ties keep their order.

    Times must be finite.
    """
    return sort_by_time(users, timestamps)[0]


def sort_by_time(
    users: npt.NDArray[np.integer], timestamps: npt.NDArray[np.floating]
) -> tuple[Order, Floats]:
    """The order of `order_by_time`, and the times in this order, float64 [n].

    Each row's key holds user, time and position, so that no two are equal and the order stands in
    the sorted keys: numpy sorts integers several times faster than it finds the order that sorts
    them. Where 64 bits are too few for all three, rows are sorted by time first, then by user, by
    as many bits of these at once as there is space for beside the position.
    """
    times = timestamps.astype(np.float64, copy=False)
    if not len(users):
        return np.zeros(0, dtype=np.int64), times
    packed = _sort_packed(users, times)
    if packed is not None:
        return packed
    user_keys, time_keys = users.astype(np.uint64), _time_keys(times)
    position_bits, user_bits = _n_bits(len(users) - 1), _n_bits(user_keys.max())
    time_bits = _n_bits(time_keys.max())
    order = np.arange(len(users))
    for key, n_bits in ((time_keys, time_bits), (user_keys, user_bits)):
        for shift in range(0, n_bits, _KEY_BITS - position_bits):
            order = order[_sort(key[order] >> np.uint64(shift), position_bits)]
    return order, times[order]


def _sort_packed(users: npt.NDArray[np.integer], times: Floats) -> tuple[Order, Floats] | None:
    """The order and the times in it; None where 64 bits are too few, or times no whole seconds."""
    first, last = float(times.min()), float(times.max())
    if last - first >= 2**53:
        return None
    position_bits, time_bits = _n_bits(len(users) - 1), _n_bits(int(last - first))
    if _n_bits(users.max()) + time_bits + position_bits > _KEY_BITS:
        return None
    keys = np.empty(len(users), dtype=np.uint64)
    for some in _cached_rows(len(users)):
        time_keys = (times[some] - first).astype(np.uint64)
        if not (time_keys + first == times[some]).all():
            return None
        part = users[some].astype(np.uint64)
        part <<= np.uint64(time_bits)
        part |= time_keys
        part <<= np.uint64(position_bits)
        np.bitwise_or(part, np.arange(some.start, some.stop, dtype=np.uint64), out=keys[some])
    keys.sort()
    in_order = np.empty(len(users))
    for some in _cached_rows(len(users)):
        part = keys[some] >> np.uint64(position_bits)
        part &= np.uint64((1 << time_bits) - 1)
        np.add(part, first, out=in_order[some])  # cheaper than to gather them
    keys &= np.uint64((1 << position_bits) - 1)
    return keys.view(np.int64), in_order


def _cached_rows(n_rows: int) -> Iterator[slice]:
    """Rows so few at a time that what is computed of them stays in the processor's cache."""
    for start in range(0, n_rows, _CACHED_ROWS):
        yield slice(start, min(start + _CACHED_ROWS, n_rows))


def _sort(keys: Keys, position_bits: int) -> Order:
    """The stable order of keys, which are changed; bits that don't fit in are lost."""
    keys <<= np.uint64(position_bits)
    keys |= np.arange(len(keys), dtype=np.uint64)
    keys.sort()
    keys &= np.uint64((1 << position_bits) - 1)
    return keys.view(np.int64)


def _n_bits(largest: np.integer | int) -> int:
    return int(largest).bit_length()


def _time_keys(times: Floats) -> Keys:
    """Integers from 0 in the order of the times."""
    # The bits of floats are in the order of the numbers, once those of negative ones are turned.
    bits = (times + 0.0).view(np.int64)
    keys = np.where(bits < 0, ~bits, bits | np.int64(-(2**63))).view(np.uint64)
    keys -= keys.min()
    return keys
