"""Encodes texts in parts on an engine: in this process, in others, or on a cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import ClassVar
from weakref import WeakValueDictionary

import numpy as np
import polars as pl

from offline.encoding.sentence_encoder import SentenceEncoder, Vectors
from offline.engine.parts import run_missing
from offline.engine.work import Compute, Device, Engine
from offline.fingerprint import fingerprint_of

TEXT, VECTOR = "text", "vector"
# Batches of a part: what a kill loses, and how often progress is seen.
_BATCHES = 16
_OPEN: WeakValueDictionary[tuple[str, Path], SentenceEncoder] = WeakValueDictionary()


@dataclass(frozen=True)
class EncodeTexts:
    """The `Work` of encoding.

    Attributes:
        encoder: short name, Hugging Face id, or folder.
        cache: the cache folder.
        batch_size: texts at a time.
    """

    encoder: str
    cache: Path
    batch_size: int = 64

    device: ClassVar[Device] = "auto"

    def open_encoder(self) -> SentenceEncoder:
        """The encoder, once in a process as long as somebody uses it.

        Raises:
            ConfigError: it can't be found or read.
        """
        key = (self.encoder, self.cache)
        encoder = _OPEN.get(key) or SentenceEncoder(self.encoder, self.cache)
        _OPEN[key] = encoder
        return encoder

    def open(self) -> Compute:
        """See `Work.open`."""
        return partial(_encode, self.open_encoder(), self.batch_size)


def _encode(encoder: SentenceEncoder, batch_size: int, batch: pl.DataFrame) -> pl.DataFrame:
    vectors = encoder.encode_batches(batch[TEXT].to_list(), batch_size)
    return pl.DataFrame({VECTOR: np.concatenate([*vectors])})


@dataclass(frozen=True)
class _Texts:
    """A `Batch` of texts.

    Attributes:
        rows: their places among all texts.
    """

    target: Path
    frame: pl.DataFrame
    rows: np.ndarray[tuple[int, ...], np.dtype[np.int64]]


class EncoderOnEngine:
    """A `FingerprintedEncoder` whose texts are encoded on an engine.

    The same texts give the same bits on every engine whose processes compute on as many threads:
    a part has whole batches of the order in which one process would encode all.

    Args:
        work: names the encoder.
        engine: where it encodes.
        folder: for parts, which a later run after a kill finds there.
    """

    def __init__(self, work: EncodeTexts, engine: Engine, folder: Path) -> None:
        self._work, self._engine, self._folder = work, engine, folder
        self._encoder = work.open_encoder()
        self._fingerprint = self._encoder.fingerprint()
        self.dimensions = self._encoder.dimensions

    def fingerprint(self) -> str:
        """See `SentenceEncoder.fingerprint`."""
        return self._fingerprint

    def encode(
        self,
        texts: Sequence[str],
        batch_size: int = 64,
        label: str = "encoding",
        keep: Callable[[Sequence[str], Vectors], None] | None = None,
    ) -> Vectors:
        """See `SentenceEncoder.encode`; `keep` is called with each part, when all are there."""
        vectors = np.empty((len(texts), self.dimensions), dtype=np.float32)
        parts = [*self._parts(texts, batch_size)]
        run_missing(
            self._engine,
            replace(self._work, batch_size=batch_size),
            parts,
            self._folder / "sources",
            n_rows=len(texts),
            label=label,
            unit="texts",
        )
        for part in parts:
            vectors[part.rows] = pl.read_parquet(part.target)[VECTOR].to_numpy()
            if keep is not None:
                keep(part.frame[TEXT].to_list(), vectors[part.rows])
        return vectors

    def _parts(self, texts: Sequence[str], batch_size: int) -> Iterator[_Texts]:
        order, n_texts = self._encoder.order(texts), batch_size * _BATCHES
        for start in range(0, len(order), n_texts):
            rows = order[start : start + n_texts]
            some = [texts[row] for row in rows]
            name = fingerprint_of(self._fingerprint, batch_size, some)
            yield _Texts(
                self._folder / f"{start:09}.{name[:16]}.parquet", pl.DataFrame({TEXT: some}), rows
            )
