from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_store.codecs import (
    Event,
    UserHistory,
    decode_event,
    decode_user,
    decode_vector,
    encode_event,
    encode_user,
    encode_vector,
    kind_numbers,
)
from model_store.errors import StoreError

interactions = st.lists(
    st.tuples(st.integers(1, 2**31 - 1), st.floats(allow_nan=False, allow_infinity=False))
)


@given(interactions)
def test_a_history_comes_back(rows: list[tuple[int, float]]) -> None:
    history = UserHistory(
        np.array([item for item, _ in rows], dtype=np.int32),
        np.array([timestamp for _, timestamp in rows], dtype=np.float64),
    )
    decoded = decode_user(encode_user(history))
    np.testing.assert_array_equal(decoded.items, history.items)
    np.testing.assert_array_equal(decoded.timestamps, history.timestamps)


@given(
    st.text(min_size=1).filter(lambda text: text.isprintable()),
    st.floats(allow_nan=False, allow_infinity=False),
    st.none() | st.floats(0, 5, width=32),
)
def test_an_event_comes_back(item_id: str, timestamp: float, rating: float | None) -> None:
    event = Event(item_id, timestamp, rating)
    assert decode_event(encode_event(event)) == event


texts = st.text(min_size=1, max_size=20).filter(lambda text: text.isprintable())


@given(
    st.builds(
        Event,
        item_id=texts,
        timestamp=st.floats(allow_nan=False, allow_infinity=False),
        rating=st.none() | st.floats(0, 5, width=32),
        type=st.just("interaction") | texts,
        value=st.none() | st.floats(-1e9, 1e9),
        event_id=st.none() | texts,
        request_id=st.none() | texts,
        rank=st.none() | st.integers(1, 1_000),
    )
)
def test_an_event_with_all_that_is_known_comes_back(event: Event) -> None:
    assert decode_event(encode_event(event)) == event


def test_a_plain_event_is_stored_as_earlier_releases_do() -> None:
    assert encode_event(Event("film", 1.5, 4.0)) == b"E1" + struct.pack("<df", 1.5, 4) + b"film"


@pytest.mark.parametrize("n_missing", [1, 5, 12, 20])
def test_a_typed_event_that_is_cut_short_is_rejected(n_missing: int) -> None:
    whole = encode_event(Event("i1", 1.0, type="purchase", event_id="e1", value=2.0))
    with pytest.raises(StoreError, match="event"):
        decode_event(whole[:-n_missing])


@given(interactions, st.data())
def test_kinds_of_a_history_come_back(rows: list[tuple[int, float]], data: st.DataObject) -> None:
    n = len(rows)
    weights = np.array(
        data.draw(st.lists(st.sampled_from([2.0, 0.0, -1.0]), min_size=n, max_size=n))
    )
    types = np.array(data.draw(st.lists(st.integers(0, 2), min_size=n, max_size=n)), dtype=np.int64)
    items = np.array([item for item, _ in rows], dtype=np.int32)
    times = np.array([timestamp for _, timestamp in rows], dtype=np.float64)
    history = decode_user(encode_user(UserHistory(items, times, kind_numbers(types, weights))))
    np.testing.assert_array_equal(history.positive().items, items[weights > 0])
    assert history.negative() == [*zip(items[weights < 0], times[weights < 0], strict=True)]
    by_type = history.by_type(("a", "b", "c"))
    for number, name in enumerate("abc"):
        assert by_type.get(name, items[:0]).tolist() == items[types == number].tolist()


@pytest.mark.parametrize("blob", [b"", b"U1", b"XX\0\0\0\0\0\0", b"U1\0\0\x02\0\0\0" + b"\0" * 12])
def test_a_damaged_history_is_rejected(blob: bytes) -> None:
    with pytest.raises(StoreError, match="user blob"):
        decode_user(blob)


@pytest.mark.parametrize("entry", [b"", b"E1" + b"\0" * 12, b"XX" + b"\0" * 20])
def test_a_damaged_event_is_rejected(entry: bytes) -> None:
    with pytest.raises(StoreError, match="event"):
        decode_event(entry)


@given(st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=40))
def test_a_vector_comes_back_within_the_rounding_of_float16(numbers: list[float]) -> None:
    vector = np.array(numbers, dtype=np.float32)
    blob = encode_vector(vector)
    assert len(blob) == 2 * len(vector)
    decoded = decode_vector(blob, len(vector))
    assert decoded.dtype == np.float32
    assert (np.abs(decoded - vector) <= np.maximum(2.0**-11 * np.abs(vector), 3e-8)).all()


def test_a_vector_of_an_earlier_release_is_read_as_it_was_written() -> None:
    vector = np.array([0.1, -1.0, 2.0], dtype=np.float32)
    np.testing.assert_array_equal(decode_vector(vector.astype("<f4").tobytes(), 3), vector)


@pytest.mark.parametrize("value", [np.nan, np.inf, 70_000])
def test_a_vector_must_be_finite_and_of_the_expected_size(value: float) -> None:
    with pytest.raises(StoreError, match="NaN"):
        decode_vector(encode_vector(np.array([value], dtype=np.float32)), 1)
    with pytest.raises(StoreError, match="6 bytes, expected 8"):
        decode_vector(encode_vector(np.zeros(3, dtype=np.float32)), 4)
