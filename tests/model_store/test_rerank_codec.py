"""The reranker's answers as blobs, and the digests of jobs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_store.errors import StoreError
from model_store.rerank_codec import (
    DIGEST_BYTES,
    CachedAnswer,
    decode_answer,
    digest_of,
    encode_answer,
)

scores = st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), max_size=20)
users = st.none() | st.text(st.characters(codec="utf-8"), max_size=50)
indices = st.lists(st.integers(1, 2**31 - 1), max_size=30)


@given(scores, users, st.integers(0, 2**32 - 1))
def test_an_answer_comes_back(values: list[float], user: str | None, written_s: int) -> None:
    given_answer = CachedAnswer(np.array(values, np.float32), user, written_s)
    blob = encode_answer(given_answer)
    assert len(blob) == 8 + 4 * len(values) + len((user or "").encode())
    found = decode_answer(blob)
    assert found.scores.tolist() == values
    assert (found.similar_user, found.written_s) == (user, written_s)


@given(st.binary(max_size=120))
def test_any_other_bytes_are_an_answer_or_a_store_error(blob: bytes) -> None:
    for candidate in (blob, b"R1" + blob):
        try:
            found = decode_answer(candidate)
        except StoreError:
            continue
        assert np.isfinite(found.scores).all()


@pytest.mark.parametrize("cut", range(8 + 4 * 3))
def test_a_blob_that_is_cut_short_is_an_error(cut: int) -> None:
    blob = encode_answer(CachedAnswer(np.ones(3, np.float32), None, 5))
    with pytest.raises(StoreError):
        decode_answer(blob[:cut])


@given(indices, indices, indices, indices)
def test_digests_are_equal_for_equal_jobs_only(
    history: list[int], candidates: list[int], other_history: list[int], other: list[int]
) -> None:
    digest = digest_of("v-1", history, candidates)
    assert len(digest) == DIGEST_BYTES
    assert digest == digest_of("v-1", tuple(history), tuple(candidates))
    assert digest != digest_of("v-2", history, candidates)
    is_same = (history, candidates) == (other_history, other)
    assert (digest == digest_of("v-1", other_history, other)) == is_same
    if history:
        # Where the history ends matters, not only which numbers there are.
        moved = digest_of("v-1", history[:-1], [history[-1], *candidates])
        assert digest != moved
