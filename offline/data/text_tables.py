"""Tables of text: each row is one line, or several lines where quoted fields hold line breaks.

The form of a file is found in `text_form.py`; `text_blocks.py` makes rows of its blocks.
"""

from __future__ import annotations

import codecs
import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from model_store.errors import InputError
from offline.data.byte_streams import ByteStream, packing_of
from offline.data.issues import Issues
from offline.data.tables import Batch, progress_on
from offline.data.text_blocks import BlockReader, BlockRows, TooLongLineError
from offline.data.text_form import TextForm, find_form

BLOCK_BYTES = 4 << 20
# Each block that is parsed ahead is kept in memory.
_N_THREADS = min(4, os.cpu_count() or 1)


@dataclass(frozen=True)
class TextTable:
    """A text file of separated fields; created by `open_csv` or `open_headless`."""

    path: Path
    form: TextForm
    with_integers: bool = False
    """Whether a batch's columns that hold nothing but plain decimal digits come as Int64."""

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns in file order, those without a name under their number."""
        return self.form.columns

    @property
    def schema(self) -> dict[str, pl.DataType]:
        """Columns with a name, in file order; all are text."""
        named = [name for name in self.form.columns if name not in self.form.unnamed]
        return dict.fromkeys(named, pl.String())

    @property
    def description(self) -> str:
        """The form in words."""
        names = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars", " ": "blanks"}
        between = names.get(self.form.separator, repr(self.form.separator))
        parts = [packing_of(self.path), self.form.encoding, f"{between} between fields"]
        return ", ".join(part for part in parts if part)

    def with_names(self, columns: Iterable[str]) -> TextTable:
        """The table with these columns named, by their numbers if not by the header."""
        return replace(self, form=replace(self.form, unnamed=self.form.unnamed.difference(columns)))

    def locate(self, place: int) -> str:
        """Lines are counted from 1, the header's too."""
        return f"line {place}"

    def batches(self, columns: Sequence[str], issues: Issues) -> Iterator[Batch]:
        """Rows with these columns, in file order; blank lines are no rows.

        Raises:
            InputError: a packed file is damaged, or a line is no line of text.
        """
        blocks = BlockReader(self.form, columns, with_integers=self.with_integers)
        size = self.path.stat().st_size
        first_line, done_bytes = self.form.header_lines + 1, 0
        with (
            ByteStream(self.path, self.form.encoding) as stream,
            ThreadPoolExecutor(_N_THREADS) as pool,
            progress_on(self.path, size, "B") as progress,
        ):
            stream.read(self.form.header_bytes)
            try:
                for rows in self._parse(blocks, stream, pool):
                    yield self._batch(rows, issues, first_line)
                    first_line += rows.n_lines
                    if progress:
                        progress.advance(stream.position - done_bytes)
                        done_bytes = stream.position
            except TooLongLineError as error:
                raise InputError(f"{self.path}: line {first_line} {error}") from None

    def _parse(
        self, blocks: BlockReader, stream: ByteStream, pool: ThreadPoolExecutor
    ) -> Iterator[BlockRows]:
        """The rows of each block in file order; some blocks are parsed ahead, each in a thread."""
        ahead: deque[tuple[bytes, Future[BlockRows | None]]] = deque()
        rest, is_read, is_taken = b"", False, False
        while ahead or not is_taken:
            while not is_taken and len(ahead) <= _N_THREADS:
                lines = b""
                if not is_read:
                    lines, is_read = stream.read_lines(BLOCK_BYTES, self.form.line_break)
                text = rest + lines if rest else lines
                work, n_bytes = blocks.take(text, is_last=is_read)
                rest, is_taken = text[n_bytes:], is_read
                ahead.append((text[:n_bytes], pool.submit(work)))
            text, future = ahead.popleft()
            rows = future.result()
            blocks.settle(rows)
            if rows is not None:
                yield rows
                continue
            for _, following in ahead:
                following.cancel()
            rest, is_taken = b"".join([text, *(taken for taken, _ in ahead), rest]), False
            ahead.clear()

    def _batch(self, rows: BlockRows, issues: Issues, first_line: int) -> Batch:
        batch = rows.reported(issues, self.path.name, first_line)
        if not self.form.padded:
            return batch
        return replace(batch, frame=batch.frame.with_columns(pl.col(pl.String).str.strip_chars()))


def open_csv(
    path: Path, separator: str | None = None, *, quoted: bool = True, has_header: bool = True
) -> TextTable:
    """Open a text table; what isn't given is found out from its content.

    Raises:
        InputError: the file is empty or no table of text.
    """
    form = find_form(path, has_header=has_header, separator=separator, quoted=quoted)
    return TextTable(path, form)


def open_headless(
    path: Path, columns: Sequence[str], separator: str, encodings: Sequence[str] = ("utf-8",)
) -> TextTable:
    """Open a text table without header or quotes, in the first of `encodings` that fits it all.

    Raises:
        InputError: the file is empty or no text, or its first line has other fields.
    """
    form = find_form(path, has_header=False, separator=separator, quoted=False)
    if len(form.columns) != len(columns):
        raise InputError(
            f"{path}: line 1 has {len(form.columns)} fields between {separator!r}, "
            f"expected {len(columns)}: {', '.join(columns)}"
        )
    encoding = next((e for e in encodings[:-1] if _is_encoded(path, e)), encodings[-1])
    if encoding != "utf-8":
        form = replace(form, encoding=encoding)
    return TextTable(path, replace(form, columns=tuple(columns)))


def _is_encoded(path: Path, encoding: str) -> bool:
    decoder = codecs.getincrementaldecoder(encoding)()
    with ByteStream(path) as stream:
        try:
            while chunk := stream.read(BLOCK_BYTES):
                decoder.decode(chunk)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return False
    return True
