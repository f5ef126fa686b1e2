"""Experiences as files."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load, save

from model_store.errors import InputError
from offline.alignment.batch_file import Batch, decode, encode
from offline.alignment.experience import Experience, SampledText


def text_of(rng: np.random.Generator, item: int, text: str) -> SampledText:
    n = int(rng.integers(1, 6))
    return SampledText(
        item,
        text,
        rng.integers(0, 9, n).astype(np.int32),
        rng.normal(size=n).astype(np.float32),
        rng.normal(size=n).astype(np.float32),
    )


@st.composite
def batches(draw: st.DrawFn) -> Batch:
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    texts = [text_of(rng, n, text) for n, text in enumerate(draw(st.lists(st.text(max_size=9))))]
    experiences = [
        Experience(
            rng.integers(1, 99, int(rng.integers(1, 5))).astype(np.int32),
            int(rng.integers(1, 99)),
            tuple(texts[i] for i in rng.permutation(len(texts))[: int(rng.integers(0, 4))]),
            float(rng.normal()),
            float(rng.normal()),
            int(rng.integers(0, 3)),
            int(rng.integers(0, 50)),
        )
        for _ in range(draw(st.integers(0, 5)))
    ]
    return Batch(draw(st.integers(1, 10**9)), tuple(experiences), rng.random(), rng.random())


@settings(max_examples=25)
@given(batches())
def test_a_batch_comes_back_with_shared_texts_shared(batch: Batch) -> None:
    back = decode(encode(batch))
    assert (back.number, back.waited_s, back.worked_s) == (
        batch.number,
        batch.waited_s,
        batch.worked_s,
    )
    matched: dict[int, SampledText] = {}
    for one, other in zip(batch.experiences, back.experiences, strict=True):
        np.testing.assert_array_equal(one.history, other.history)
        assert one.history.dtype == other.history.dtype
        for name in ("target", "log_with", "log_without", "group", "snapshot"):
            assert getattr(one, name) == getattr(other, name)
        for text, found in zip(one.texts, other.texts, strict=True):
            assert matched.setdefault(id(text), found) is found
            assert (text.item, text.text) == (found.item, found.text)
            for name in ("tokens", "log_sampled", "log_original"):
                np.testing.assert_array_equal(getattr(text, name), getattr(found, name))
                assert getattr(text, name).dtype == getattr(found, name).dtype
                assert getattr(found, name).flags.writeable
    assert len({id(found) for found in matched.values()}) == len(matched)


@pytest.fixture
def content() -> bytes:
    rng = np.random.default_rng(0)
    text = text_of(rng, 4, "A comedy – for children.")
    history = np.array([1, 4], np.int32)
    return encode(Batch(7, (Experience(history, 2, (text,), -1.5, -2.5, 0, 3),), 0.5, 1.5))


def test_a_cut_file_is_rejected_at_every_length(content: bytes) -> None:
    for length in range(0, len(content), 37):
        with pytest.raises(InputError):
            decode(content[:length])


@pytest.mark.parametrize(
    ("name", "values", "fault"),
    [
        ("texts", [1], "don't fit"),
        ("texts", [-1], "don't fit"),
        ("tokens/n", [99], "don't fit"),
        ("history/n", [1, 1], "don't fit"),
        ("target", [1, 2], "don't fit"),
        ("number", [], "don't fit"),
        ("target", [1.5], "target is float64"),
    ],
)
def test_parts_that_do_not_belong_together_are_rejected(
    content: bytes, name: str, values: list[float], fault: str
) -> None:
    arrays = load(content)
    dtype = None if any(isinstance(value, float) for value in values) else arrays[name].dtype
    with pytest.raises(InputError, match=fault):
        decode(save(arrays | {name: np.array(values, dtype)}))


def test_files_of_others_are_rejected(content: bytes) -> None:
    arrays = load(content)
    for other in (
        save({"weight": np.zeros(3)}),
        save(arrays | {"more": np.zeros(1)}),
        b"\x80\x04N.",
    ):
        with pytest.raises(InputError):
            decode(other)
