"""The texts that a language model wrote about items, with their provenance.

In a bundle they are three arrays, mapped and shared by all workers: one buffer of UTF-8, the
offset where each text begins, and the day it was written. A text becomes a Python string only
when somebody asks for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator

from model_store.array_checks import Pause, check_layout, check_range
from model_store.errors import BundleError, InputError
from model_store.files import save_array
from model_store.reading import map_array
from model_store.texts import is_encodable

FIELD = "knowledge"
"""The field of an answer's items that holds their texts."""
TEXT = "knowledge_text.npy"
OFFSETS = "knowledge_text_offsets.npy"
DAYS = "knowledge_text_days.npy"
TEXT_FILES = (TEXT, OFFSETS, DAYS)

MAX_TEXT_BYTES = 65_536
"""Longest text of an item, in UTF-8."""
SHORT_CHARACTERS = 160
"""Longest short form."""
_EPOCH = date(1970, 1, 1)
_MAX_DAY = (date.max - _EPOCH).days
_ROWS_AT_ONCE = 10_000
# The first bits of a byte inside a character of several bytes.
_INSIDE_MASK, _INSIDE = 0b1100_0000, 0b1000_0000

Name = Annotated[str, StringConstraints(min_length=1, max_length=500)]


class KnowledgeSource(BaseModel):
    """Where texts come from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: Name = Field(description="the language model that wrote them")
    prompt: Name = Field(description="version of its prompt")
    aligned: bool = Field(description="the recommender had taught the model what to write")


class KnowledgeText(BaseModel):
    """One text with its provenance; also the form in which the store has a fresh item's."""

    model_config = ConfigDict(frozen=True)

    text: Annotated[str, StringConstraints(min_length=1, max_length=MAX_TEXT_BYTES)]
    source: KnowledgeSource
    made_on: date | None = Field(description="the day it was written (UTC); null: not recorded")

    @field_validator("text")
    @classmethod
    def _text_is_encodable(cls, text: str) -> str:
        if not is_encodable(text):
            raise ValueError("is not Unicode text")
        return text


@dataclass(frozen=True)
class TextArrays:
    """The texts of a catalogue; row i is that of item_index i, row 0, padding's, is empty.

    text: uint8, UTF-8. offsets: int64 [N+2]; row i is `text[offsets[i]:offsets[i + 1]]`. days:
    int32 [N+1] since 1970-01-01; 0 where it isn't recorded.
    """

    text: npt.NDArray[np.uint8]
    offsets: npt.NDArray[np.int64]
    days: npt.NDArray[np.int32]

    @classmethod
    def of(cls, texts: Sequence[str], made_on: Sequence[date | None]) -> TextArrays:
        """Of item_index 1..N; "" where an item has none.

        Raises:
            InputError: a text is too long, or no Unicode.
        """
        encoded = [b"", *(_encode(text, row) for row, text in enumerate(texts, start=1))]
        offsets = np.zeros(len(encoded) + 1, dtype=np.int64)
        np.cumsum([len(one) for one in encoded], out=offsets[1:])
        days = [0, *(0 if day is None else (day - _EPOCH).days for day in made_on)]
        text = np.frombuffer(b"".join(encoded), dtype=np.uint8)
        return cls(text, offsets, np.array(days, dtype=np.int32))

    @classmethod
    def open(cls, folder: Path) -> TextArrays:
        """Those that `save` wrote, mapped and read-only.

        Raises:
            BundleUnavailable: a file can't be read now.
            BundleError: it is no array.
        """
        # A memory map is slower to index than a plain array over the same pages.
        text, offsets, days = (np.asarray(map_array(folder / name)) for name in TEXT_FILES)
        return cls(text, offsets, days)

    def save(self, folder: Path) -> None:
        """Write the three files."""
        arrays: tuple[npt.NDArray[Any], ...] = (self.text, self.offsets, self.days)
        for name, array in zip(TEXT_FILES, arrays, strict=True):
            save_array(folder / name, array)

    @property
    def n_texts(self) -> int:
        """How many items have one."""
        return int(np.count_nonzero(np.diff(self.offsets)))

    def text_of(self, row: int) -> str:
        """The text of a row, "" where there is none."""
        return self.text[self.offsets[row] : self.offsets[row + 1]].tobytes().decode()

    def day_of(self, row: int) -> date | None:
        """The day on which it was written, None where that isn't recorded."""
        days = int(self.days[row])
        return _EPOCH + timedelta(days=days) if days else None

    def check_layouts(self, folder: Path, n_items: int) -> None:
        """Check types and shapes.

        Raises:
            BundleError: an array has another one.
        """
        check_layout(folder / TEXT, self.text, "|u1", (self.text.size,))
        check_layout(folder / OFFSETS, self.offsets, "<i8", (n_items + 2,))
        check_layout(folder / DAYS, self.days, "<i4", (n_items + 1,))

    def check(self, folder: Path, n_texts: int, pause: Pause) -> None:
        """Check that every row is a text, of the arrays of a folder whose layouts are right.

        Raises:
            BundleError: one isn't, or there are not as many as the manifest says.
        """
        offsets, path = self.offsets, folder / OFFSETS
        lengths = np.diff(offsets)
        if offsets[0] != 0 or offsets[1] != 0 or lengths.min() < 0 or offsets[-1] != self.text.size:
            raise BundleError(f"{path}: doesn't rise from 0, 0 to {self.text.size}")
        if (longest := int(lengths.max())) > MAX_TEXT_BYTES:
            raise BundleError(f"{path}: a text of {longest:,} bytes, the limit is {MAX_TEXT_BYTES}")
        if self.n_texts != n_texts:
            raise BundleError(f"{path}: {self.n_texts} texts, the manifest says {n_texts}")
        for start in range(0, len(lengths), _ROWS_AT_ONCE):
            self._check_rows(folder / TEXT, start, min(start + _ROWS_AT_ONCE, len(lengths)))
            pause()
        check_range(folder / DAYS, self.days, 0, _MAX_DAY, pause)

    def _check_rows(self, path: Path, start: int, end: int) -> None:
        """Check that rows are UTF-8: all of them together, and that none begins in a character."""
        begins = self.offsets[start:end]
        span = self.text[begins[0] : self.offsets[end]]
        try:
            span.tobytes().decode()
        except UnicodeDecodeError as error:
            at = int(begins[0]) + error.start
            raise BundleError(f"{path}: byte {at} is not UTF-8 ({error.reason})") from None
        firsts = begins[np.diff(self.offsets[start : end + 1]) > 0]
        if np.any((self.text[firsts] & _INSIDE_MASK) == _INSIDE):
            raise BundleError(f"{path}: a text begins inside a character")


@dataclass(frozen=True)
class KnowledgeTexts:
    """The texts of a version's items, fresh ones after those of the catalogue.

    Attributes:
        n_items: N, of the catalogue.
        source: of its texts; None where it has none.
        arrays: its texts; None where it has none.
        fresh: of item_index N+1, N+2, …; None for an item without one.
    """

    n_items: int
    source: KnowledgeSource | None = None
    arrays: TextArrays | None = None
    fresh: tuple[KnowledgeText | None, ...] = ()

    def extended(self, fresh: Sequence[KnowledgeText | None]) -> KnowledgeTexts:
        """The same with further fresh items."""
        return replace(self, fresh=(*self.fresh, *fresh))

    def get(self, item_index: int) -> KnowledgeText | None:
        """An item's text with its provenance, None where it has none."""
        if item_index > self.n_items:
            return self.fresh[item_index - self.n_items - 1]
        text = self.text_of(item_index)
        if text is None or self.source is None or self.arrays is None:
            return None
        return KnowledgeText(text=text, source=self.source, made_on=self.arrays.day_of(item_index))

    def text_of(self, item_index: int) -> str | None:
        """An item's text alone, None where it has none."""
        if item_index > self.n_items:
            fresh = self.fresh[item_index - self.n_items - 1]
            return None if fresh is None else fresh.text
        return None if self.arrays is None else self.arrays.text_of(item_index) or None

    def short_of(self, item_index: int) -> str | None:
        """The beginning of an item's text, cut after a word; None where it has none."""
        text = self.text_of(item_index)
        if text is None or len(text) <= SHORT_CHARACTERS:
            return text
        words, is_cut, _ = text[:SHORT_CHARACTERS].rpartition(" ")
        return f"{words if is_cut else text[: SHORT_CHARACTERS - 1]}…"


def _encode(text: str, item_index: int) -> bytes:
    try:
        encoded = text.encode()
    except UnicodeEncodeError:
        raise InputError(f"knowledge of item_index {item_index}: is not Unicode text") from None
    if len(encoded) > MAX_TEXT_BYTES:
        raise InputError(
            f"knowledge of item_index {item_index}: {len(encoded):,} bytes, the limit is "
            f"{MAX_TEXT_BYTES:,}"
        )
    return encoded
