"""Vectors of texts that an encoder gave before, in the cache folder: one SQLite file an encoder.

Another build, with another catalogue or in another folder, encodes only the texts that are new; so
does one that was killed. An encoder is known by its weights and tokenizer, not by its name.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from offline.encoding.sentence_encoder import Vectors

MAX_FILES = 8
"""Files that are kept, the last used: a tuned encoder is another one after each tuning."""
_KEYS_AT_ONCE = 500
_WAIT_S = 30.0  # for another build's write


class FingerprintedEncoder(Protocol):
    """An encoder that says which one it is."""

    dimensions: int

    def fingerprint(self) -> str:
        """Digest of everything that decides its vectors."""
        ...

    def encode(
        self,
        texts: Sequence[str],
        batch_size: int = 64,
        label: str = "",
        keep: Callable[[Sequence[str], Vectors], None] | None = None,
    ) -> Vectors:
        """Vectors float32 [n, K]; `keep` is called with each batch's texts and vectors."""
        ...


class CachedEncoder:
    """An `Encoder` that encodes each text once.

    Args:
        encoder: encodes what is not in the cache.
        cache: the cache folder.
    """

    def __init__(self, encoder: FingerprintedEncoder, cache: Path) -> None:
        self._encoder = encoder
        self._path = cache / "vectors" / f"{encoder.fingerprint()[:32]}.sqlite"

    def encode(self, texts: Sequence[str], batch_size: int = 64, label: str = "") -> Vectors:
        """See `Encoder`."""
        with _opened(self._path) as file:
            known = file.find(texts) if file else {}
            missing = list(dict.fromkeys(text for text in texts if text not in known))
            if missing:
                vectors = self._encoder.encode(
                    missing, batch_size, label, file.keep if file else None
                )
                known |= zip(missing, vectors, strict=True)
        size = self._encoder.dimensions
        return np.array([known[text] for text in texts], np.float32).reshape(len(texts), size)

    def missing(self, texts: Sequence[str]) -> list[str]:
        """The texts that are not in the cache."""
        with _opened(self._path) as file:
            known = file.find(texts) if file else {}
        return [text for text in texts if text not in known]


class _File:
    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = NORMAL")
        database.execute("CREATE TABLE IF NOT EXISTS vectors (text BLOB PRIMARY KEY, vector BLOB)")

    def find(self, texts: Sequence[str]) -> dict[str, Vectors]:
        """The vectors of those texts that are there, each float32 [K]."""
        by_key = {_key(text): text for text in texts}
        keys = list(by_key)
        found: dict[str, Vectors] = {}
        for start in range(0, len(keys), _KEYS_AT_ONCE):
            some = keys[start : start + _KEYS_AT_ONCE]
            marks = ",".join("?" * len(some))
            rows = self._database.execute(
                f"SELECT text, vector FROM vectors WHERE text IN ({marks})",  # noqa: S608
                some,
            )
            found |= {by_key[key]: np.frombuffer(vector, "<f4") for key, vector in rows}
        return found

    def keep(self, texts: Sequence[str], vectors: Vectors) -> None:
        """Write vectors; a disk that takes none costs the next build time, and not this one."""
        rows = [
            (_key(text), vector.astype("<f4").tobytes())
            for text, vector in zip(texts, vectors, strict=True)
        ]
        with contextlib.suppress(sqlite3.OperationalError), self._database:
            self._database.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?)", rows)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[_File | None]:
    """The file, made if it isn't there; None where there can be none."""
    database = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        database = _connect(path)
        file = _File(database)
    except (sqlite3.OperationalError, OSError):
        file = None
    except sqlite3.DatabaseError:  # damaged: its content can be made again
        if database is not None:
            database.close()
        path.unlink(missing_ok=True)
        database = _connect(path)
        file = _File(database)
    try:
        if file is not None:
            os.utime(path)
            _forget_oldest(path.parent)
        yield file
    finally:
        if database is not None:
            database.close()


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=_WAIT_S)


def _forget_oldest(folder: Path) -> None:
    files = sorted(folder.glob("*.sqlite"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in files[MAX_FILES:]:
        for one in (path, Path(f"{path}-wal"), Path(f"{path}-shm")):
            one.unlink(missing_ok=True)


def _key(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
