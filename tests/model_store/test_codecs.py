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


def test_a_vector_comes_back_and_must_be_finite() -> None:
    vector = np.array([0.5, -1.0, 2.0], dtype=np.float32)
    np.testing.assert_array_equal(decode_vector(encode_vector(vector), 3), vector)
    with pytest.raises(StoreError, match="expected 16"):
        decode_vector(encode_vector(vector), 4)
    with pytest.raises(StoreError, match="NaN"):
        decode_vector(encode_vector(np.array([np.nan], dtype=np.float32)), 1)
