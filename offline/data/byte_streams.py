"""Bytes of a file, unpacked where it is compressed, and as UTF-8 where its encoding is another."""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import lzma
import os
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import BinaryIO

import zstandard

from model_store.errors import InputError

CHUNK_BYTES = 1 << 20
# Of these, the last line break before some size is looked for; longer lines cost a copy.
_MAX_AHEAD_BYTES = 1 << 15

# First bytes of a file, and how it is packed. What the name says doesn't matter.
PACKINGS = (
    (b"\x1f\x8b", "gzip"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"PK\x03\x04", "zip"),
    (b"PK\x05\x06", "zip"),  # without any file
    *((bytes([0x50 + n]) + b"\x2a\x4d\x18", "zstd") for n in range(16)),  # begins with a comment
)
PACKED_SUFFIXES = (".gz", ".gzip", ".zst", ".zstd", ".bz2", ".xz", ".zip")
_DAMAGE = (
    *(OSError, EOFError, zlib.error, lzma.LZMAError, zstandard.ZstdError),
    *(zipfile.BadZipFile, RuntimeError, NotImplementedError),  # a password, an unknown method
)


class ByteStream:
    """A file's bytes, unpacked and as UTF-8; a context manager.

    Args:
        path: the file.
        encoding: of the unpacked text; what isn't in it becomes U+FFFD. None leaves bytes as they
            are.

    Raises:
        InputError: the file can't be opened, or is an archive of several files.
    """

    def __init__(self, path: Path, encoding: str | None = None) -> None:
        self._path = path
        self._decoder, self._is_utf8 = None, encoding == "utf-8"
        if encoding is not None:
            self._decoder = codecs.getincrementaldecoder(encoding)("replace")
        try:
            self._file: BinaryIO = path.open("rb")
        except OSError as error:
            raise InputError(f"{path}: can't be read ({error.strerror})") from error
        self._waiting = b""
        try:
            self._unpacked = _unpack(path, self._file)
        except _DAMAGE as error:
            self._file.close()
            raise self._damaged(error) from error
        except InputError:
            self._file.close()
            raise

    def __enter__(self) -> ByteStream:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()

    @property
    def position(self) -> int:
        """How many bytes of the file, as it is on disk, have been read."""
        return self._file.tell()

    def read(self, n_bytes: int) -> bytes:
        """The next `n_bytes`; fewer only at the end.

        Raises:
            InputError: the packed file is cut short or damaged.
        """
        parts = [self._waiting] if self._waiting else []
        n_read = len(self._waiting)
        while n_read < n_bytes:
            try:
                part = self._unpacked.read(n_bytes - n_read)
            except _DAMAGE as error:
                raise self._damaged(error) from error
            if not part:
                break
            if self._decoder is not None and not (self._is_utf8 and self._is_whole_ascii(part)):
                part = self._decoder.decode(part).encode()
            parts.append(part)
            n_read += len(part)
        whole = parts[0] if len(parts) == 1 else b"".join(parts)
        self._waiting = whole[n_bytes:]
        return whole[:n_bytes]  # without a copy if that is all

    def read_lines(self, n_bytes: int, line_break: bytes) -> tuple[bytes, bool]:
        """The next whole lines, `n_bytes` at most, and whether the file ends with them.

        A longer line comes in parts, and the last one of a file may have no line break.

        Raises:
            InputError: the packed file is cut short or damaged.
        """
        n_whole = self._find_end(n_bytes, line_break)
        if n_whole:
            return self.read(n_whole), False
        chunk = self.read(n_bytes)
        if len(chunk) < n_bytes:
            return chunk, True
        end = chunk.rfind(line_break) + 1 or n_bytes
        chunk, self._waiting = chunk[:end], chunk[end:] + self._waiting
        return chunk, False

    def _find_end(self, n_bytes: int, line_break: bytes) -> int:
        """Size of the next whole lines; 0 where only reading shows it.

        Of a file that is read as it is, a look ahead saves a copy of all.
        """
        if self._unpacked is not self._file or self._decoder is not None or self._waiting:
            return 0
        n_ahead = min(n_bytes, _MAX_AHEAD_BYTES)
        start = n_bytes - n_ahead
        try:
            ahead = os.pread(self._file.fileno(), n_ahead, self.position + start)
        except OSError:  # of a pipe
            return 0
        if len(ahead) < n_ahead or line_break not in ahead:
            return 0
        return start + ahead.rfind(line_break) + 1

    def _is_whole_ascii(self, part: bytes) -> bool:
        """Whether a part of UTF-8 needs no decoder, nor does what came before it."""
        return part.isascii() and self._decoder is not None and not self._decoder.getstate()[0]

    def _damaged(self, error: BaseException) -> InputError:
        reason = " ".join(str(error).split()) or type(error).__name__
        if isinstance(error, EOFError):
            reason = "it is cut short"
        return InputError(f"{self._path}: can't be unpacked ({reason})")


def read_all(path: Path) -> bytes:
    """A whole file, unpacked.

    Raises:
        InputError: it can't be read or unpacked.
    """
    parts = []
    with ByteStream(path) as stream:
        while part := stream.read(CHUNK_BYTES):
            parts.append(part)
    return b"".join(parts)


def packing_of(path: Path) -> str | None:
    """How a file is packed, such as "gzip"; None if it isn't."""
    with path.open("rb") as file:
        return packing_by(file.read(8))


def packing_by(beginning: bytes) -> str | None:
    """How a file with these first bytes is packed; None if it isn't."""
    return next((name for magic, name in PACKINGS if beginning.startswith(magic)), None)


def without_packing(name: str) -> str:
    """A file's name without `.gz` and the like."""
    path = PurePosixPath(name)
    return path.stem if path.suffix.lower() in PACKED_SUFFIXES else name


def _unpack(path: Path, file: BinaryIO) -> io.BufferedIOBase | BinaryIO:
    packing = packing_of(path)
    if packing == "gzip":
        return gzip.GzipFile(fileobj=file)
    if packing == "bzip2":
        return bz2.BZ2File(file)
    if packing == "xz":
        return lzma.LZMAFile(file)
    if packing == "zstd":
        return io.BufferedReader(_ChunkReader(_unzstd(file)), CHUNK_BYTES)
    if packing == "zip":
        return _only_member(path, file)
    return file


def _only_member(path: Path, file: BinaryIO) -> io.BufferedIOBase:
    archive = zipfile.ZipFile(file)
    names = archive.namelist()
    if "[Content_Types].xml" in names or {"mimetype", "content.xml"} <= set(names):
        raise InputError(f"{path}: is a spreadsheet or another Office document; save it as CSV")
    members = [
        name
        for name in names
        if not name.endswith("/") and not any(p[:1] in "._" for p in PurePosixPath(name).parts)
    ]
    if len(members) != 1:
        found = ", ".join(members[:5]) + (", …" if len(members) > 5 else "")
        raise InputError(
            f"{path}: an archive of {len(members)} files ({found}); unpack it and name one"
        )
    return io.BufferedReader(archive.open(members[0]), CHUNK_BYTES)  # type: ignore[type-var]


def _unzstd(file: BinaryIO) -> Iterator[bytes]:
    """Chunks of all frames; the library's own reader doesn't notice a frame that is cut short."""
    frame, packed = None, b""
    while packed or (packed := file.read(CHUNK_BYTES)):
        if frame is None or frame.eof:
            frame = zstandard.ZstdDecompressor().decompressobj()
        yield frame.decompress(packed)
        packed = frame.unused_data
    if frame is not None and not frame.eof:
        raise EOFError


class _ChunkReader(io.RawIOBase):
    """Chunks as a file."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while not self._rest:
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._rest = chunk
        n = min(len(buffer), len(self._rest))
        buffer[:n] = self._rest[:n]
        self._rest = self._rest[n:]
        return n
