"""Texts that are encoded in parts get the bits that one process would give them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from offline.encoding import on_engine
from offline.encoding.on_engine import EncoderOnEngine, EncodeTexts
from offline.encoding.sentence_encoder import SentenceEncoder
from offline.engine.local import LocalEngine
from offline.engine.work import Part, Work
from tests.offline.encoding.tiny_encoder import make_tiny_bert

TEXTS = [f"title : {'war ' * (n % 7)}toy story {n % 5}" for n in range(40)] + ["", "a quiet film"]
BATCH = 4


@dataclass
class Interrupted:
    """An engine that computes some parts, and remembers how many."""

    n_parts: int
    finished: list[Part] = field(default_factory=list)

    def describe(self) -> str:
        return "interrupted"

    def run(self, work: Work, parts: Iterable[Part]) -> Iterator[Part]:
        for part in islice(LocalEngine(1).run(work, parts), self.n_parts):
            self.finished.append(part)
            yield part
        if len(self.finished) == self.n_parts:
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_bert(tmp_path_factory.mktemp("bert"))


@pytest.fixture
def whole(folder: Path, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """What one process answers; parts are of two batches."""
    monkeypatch.setattr(on_engine, "_BATCHES", 2)
    return SentenceEncoder(str(folder), folder).encode(TEXTS, BATCH)


def test_parts_change_no_bit(folder: Path, whole: np.ndarray, tmp_path: Path) -> None:
    work = EncodeTexts(str(folder), tmp_path)
    kept: list[tuple[str, bytes]] = []

    def keep(texts: Iterable[str], vectors: Iterable[np.ndarray]) -> None:
        kept.extend((text, row.tobytes()) for text, row in zip(texts, vectors, strict=True))

    encoder = EncoderOnEngine(work, LocalEngine(1), tmp_path / "parts")
    np.testing.assert_array_equal(encoder.encode(TEXTS, BATCH, keep=keep), whole)
    rows = zip(TEXTS, whole, strict=True)
    assert sorted(kept) == sorted((text, row.tobytes()) for text, row in rows)
    assert len(list((tmp_path / "parts").glob("*.parquet"))) == 6


def test_what_was_encoded_before_a_kill_stays(
    folder: Path, whole: np.ndarray, tmp_path: Path
) -> None:
    work, parts = EncodeTexts(str(folder), tmp_path), tmp_path / "parts"
    with pytest.raises(KeyboardInterrupt):
        EncoderOnEngine(work, Interrupted(2), parts).encode(TEXTS, BATCH)
    rest = Interrupted(10)
    vectors = EncoderOnEngine(work, rest, parts).encode(TEXTS, BATCH)
    assert len(rest.finished) == 4
    np.testing.assert_array_equal(vectors, whole)
