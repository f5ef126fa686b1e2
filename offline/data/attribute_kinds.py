"""Finds the kind of an attribute from the type and values of its column."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from model_store.attributes import MAX_INTEGER, Attribute, AttributeKind, AttributeValue
from offline.data.columns import TITLE

# A code with leading zeros (a zip code, a part number) is a name, not a number.
NUMBER = re.compile(r"[+-]?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?")
# A few bad values ("n/a", "1995?") don't turn a column of numbers into one of texts.
NUMBERS_SHARE = 0.95
# A "|" in one text in a hundred is punctuation; between short parts all over a column it separates.
LISTS_SHARE = 0.1
MAX_PART_CHARACTERS = 64


@dataclass(frozen=True)
class InferredColumn:
    """A column as an attribute; at `not_numbers` (positions) a text stood among numbers."""

    attribute: Attribute
    not_numbers: Sequence[int] = ()


def can_be_attribute(dtype: pl.DataType) -> bool:
    """Whether values of a type can become texts, lists of texts, or numbers."""
    if isinstance(dtype, pl.List | pl.Array):
        return can_be_attribute(dtype.inner) and not dtype.inner.is_nested()  # type: ignore[arg-type]
    return not dtype.is_nested() and dtype not in (pl.Binary, pl.Object)


def infer_attribute(name: str, values: pl.Series) -> InferredColumn:
    """An attribute of a column's values; the title is always a text.

    Numbers: columns of numbers, and texts that nearly all are. Lists: columns of lists, JSON lists,
    and short parts between "|". Texts: all else. Blank is missing.
    """
    dtype = values.dtype
    if isinstance(dtype, pl.List | pl.Array):
        as_lists = values.cast(pl.List(pl.String)).to_list()
        return _column(name, "list", [_clean_parts(parts) for parts in as_lists])
    if name != TITLE and (dtype.is_numeric() or dtype.is_decimal()) and _are_countable(values):
        return _column(name, "number", _whole_as_int(values.cast(_plain_number(dtype)).to_list()))
    texts = [_clean_text(text) for text in values.cast(pl.String).to_list()]
    if name == TITLE:
        return _column(name, "text", texts)
    return _infer_from_texts(name, texts)


def _infer_from_texts(name: str, texts: Sequence[str | None]) -> InferredColumn:
    given = [text for text in texts if text is not None]
    n_numbers = sum(_as_number(text) is not None for text in given)
    if given and n_numbers >= NUMBERS_SHARE * len(given):
        numbers = [None if text is None else _as_number(text) for text in texts]
        slips = [
            position
            for position, (text, number) in enumerate(zip(texts, numbers, strict=True))
            if text is not None and number is None
        ]
        return InferredColumn(Attribute(name, "number", _whole_as_int(numbers)), slips)
    if given and all(_as_json_list(text) is not None for text in given):
        return _column(name, "list", [t if t is None else _as_json_list(t) for t in texts])
    if _are_piped(given):
        return _column(
            name, "list", [t if t is None else _clean_parts(t.split("|")) for t in texts]
        )
    return _column(name, "text", list(texts))


def _column(name: str, kind: AttributeKind, values: Sequence[AttributeValue]) -> InferredColumn:
    return InferredColumn(Attribute(name, kind, values))


def _are_countable(values: pl.Series) -> bool:
    """Whether no integer is so large that it must be a name, as a 64-bit id is."""
    if not values.dtype.is_integer():
        return True
    wide = values.cast(pl.Int128)
    return not ((wide > MAX_INTEGER) | (wide < -MAX_INTEGER)).any()


def _plain_number(dtype: pl.DataType) -> pl.DataType:
    return pl.Int128() if dtype.is_integer() else pl.Float64()


def _clean_text(text: str | None) -> str | None:
    return (text.strip() or None) if text is not None else None


def _clean_parts(parts: Sequence[str | None] | None) -> list[str] | None:
    if parts is None:
        return None
    return [text for part in parts if (text := _clean_text(part)) is not None]


def _as_number(text: str) -> int | float | None:
    if not NUMBER.fullmatch(text):
        return None
    number = float(text)
    if not math.isfinite(number):
        return None
    if not text.lstrip("+-").isdigit():
        return number
    # Longer runs of digits are names: as numbers, some could not be told apart.
    return int(text) if abs(int(text)) <= MAX_INTEGER else None


def _whole_as_int(numbers: Sequence[int | float | None]) -> list[int | float | None]:
    """Ints where every number of the column is whole: 1995.0 stands for a year that had gaps."""
    finite = [n if n is not None and math.isfinite(n) else None for n in numbers]
    if all(n is None or (n == int(n) and abs(n) <= MAX_INTEGER) for n in finite):
        return [None if n is None else int(n) for n in finite]
    return list(finite)


def _as_json_list(text: str) -> list[str] | None:
    if not (text.startswith("[") and text.endswith("]")):
        return None
    try:
        parts = json.loads(text)
    except ValueError:
        return None
    if any(isinstance(part, list | dict) for part in parts):
        return None
    return _clean_parts([None if part is None else str(part) for part in parts])


def _are_piped(texts: Sequence[str]) -> bool:
    piped = [text for text in texts if "|" in text]
    if not piped or len(piped) < LISTS_SHARE * len(texts):
        return False
    return all(len(part) <= MAX_PART_CHARACTERS for text in texts for part in text.split("|"))
