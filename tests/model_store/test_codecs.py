from __future__ import annotations

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
