"""Texts that were encoded before are not encoded again."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from offline.encoding import vector_cache
from offline.encoding.sentence_encoder import SentenceEncoder, Vectors
from offline.encoding.vector_cache import CachedEncoder
from tests.offline.encoding.tiny_encoder import make_tiny_bert

TEXTS = ["title : toy story", "title : war", "title : toy story", "a quiet film", ""]


class Counting:
    """A real encoder that remembers its texts, and fails after some."""

    def __init__(self, encoder: SentenceEncoder, n_before_failure: int = 10**9) -> None:
        self._encoder = encoder
        self.dimensions = encoder.dimensions
        self.asked: list[str] = []
        self._n_left = n_before_failure

    def fingerprint(self) -> str:
        return self._encoder.fingerprint()

    def encode(
        self,
        texts: Sequence[str],
        batch_size: int = 64,
        label: str = "",
        keep: Callable[[Sequence[str], Vectors], None] | None = None,
    ) -> Vectors:
        self.asked += texts

        def kept(some: Sequence[str], vectors: Vectors) -> None:
            if self._n_left <= 0:
                raise KeyboardInterrupt
            self._n_left -= len(some)
            if keep is not None:
                keep(some, vectors)

        return self._encoder.encode(texts, batch_size, label, kept)


def test_vectors_are_the_encoders_own(tiny_encoder: SentenceEncoder, tmp_path: Path) -> None:
    plain = np.vstack([tiny_encoder.encode([text]) for text in TEXTS])
    for _ in range(2):
        vectors = CachedEncoder(tiny_encoder, tmp_path).encode(TEXTS)
        assert (vectors.dtype, vectors.shape) == (np.float32, plain.shape)
        assert np.abs(vectors - plain).max() < 1e-5


def test_a_text_is_encoded_once_and_its_vector_stays_the_same_bits(
    tiny_encoder: SentenceEncoder, tmp_path: Path
) -> None:
    first, second = Counting(tiny_encoder), Counting(tiny_encoder)
    vectors = CachedEncoder(first, tmp_path).encode(TEXTS)
    assert first.asked == list(dict.fromkeys(TEXTS))
    cached = CachedEncoder(second, tmp_path)
    assert cached.missing([*TEXTS, "new"]) == ["new"]
    np.testing.assert_array_equal(cached.encode(TEXTS), vectors)
    assert second.asked == []
    grown = cached.encode([*TEXTS, "title : a comedy"])
    assert second.asked == ["title : a comedy"]
    np.testing.assert_array_equal(grown[:-1], vectors)


def test_no_texts_are_no_vectors(tiny_encoder: SentenceEncoder, tmp_path: Path) -> None:
    shape = CachedEncoder(tiny_encoder, tmp_path).encode([]).shape
    assert shape == (0, tiny_encoder.dimensions)


def test_another_encoder_has_vectors_of_its_own(
    tiny_encoder: SentenceEncoder, tmp_path: Path
) -> None:
    """Under the same name, too: weights may change where they lie."""
    CachedEncoder(tiny_encoder, tmp_path / "cache").encode(TEXTS)
    other = SentenceEncoder(str(make_tiny_bert(tmp_path / "bert", seed=4)), tmp_path, device="cpu")
    counting = Counting(other)
    vectors = CachedEncoder(counting, tmp_path / "cache").encode(TEXTS)
    assert set(counting.asked) == set(TEXTS)
    assert np.abs(vectors[0] - tiny_encoder.encode(TEXTS[:1])[0]).max() > 1e-3
    again = SentenceEncoder(str(tmp_path / "bert"), tmp_path, device="cpu")
    assert again.fingerprint() == other.fingerprint() != tiny_encoder.fingerprint()


def test_a_killed_run_keeps_its_batches(tiny_encoder: SentenceEncoder, tmp_path: Path) -> None:
    texts = [f"title : {'war ' * n}" for n in range(1, 9)]
    with pytest.raises(KeyboardInterrupt):
        CachedEncoder(Counting(tiny_encoder, 4), tmp_path).encode(texts, batch_size=2)
    second = Counting(tiny_encoder)
    CachedEncoder(second, tmp_path).encode(texts, batch_size=2)
    assert len(second.asked) == 4


@pytest.mark.parametrize("content", [b"no database at all" * 100, b""])
def test_a_damaged_file_is_made_again(
    tiny_encoder: SentenceEncoder, tmp_path: Path, content: bytes
) -> None:
    CachedEncoder(tiny_encoder, tmp_path).encode(TEXTS)
    [path] = (tmp_path / "vectors").glob("*.sqlite")
    path.write_bytes(content)
    counting = Counting(tiny_encoder)
    CachedEncoder(counting, tmp_path).encode(TEXTS)
    assert set(counting.asked) == set(TEXTS)
    assert CachedEncoder(tiny_encoder, tmp_path).missing(TEXTS) == []


def test_a_cache_that_cannot_be_written_costs_time_alone(
    tiny_encoder: SentenceEncoder, tmp_path: Path
) -> None:
    (tmp_path / "vectors").write_text("a file where the folder should be")
    assert len(CachedEncoder(tiny_encoder, tmp_path).encode(TEXTS)) == len(TEXTS)


def test_files_of_encoders_that_are_no_longer_used_go(
    tiny_encoder: SentenceEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vector_cache, "MAX_FILES", 2)
    (tmp_path / "vectors").mkdir()
    for number in range(3):
        old = tmp_path / "vectors" / f"{number}.sqlite"
        old.touch()
        os.utime(old, (number, number))
    CachedEncoder(tiny_encoder, tmp_path).encode(TEXTS)
    left = {path.name for path in (tmp_path / "vectors").glob("*.sqlite")}
    assert len(left) == 2
    assert "2.sqlite" in left
