"""Settles what an attribute is: the one kind of a column, from its type and all its values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from model_store.attributes import MAX_INTEGER, Attribute, AttributeKind, AttributeValue
from offline.data.columns import TITLE
from offline.data.kinds.booleans import read_booleans
from offline.data.kinds.lists import (
    LIST_SEPARATORS,
    ReadLists,
    clean_parts,
    find_separator,
    read_literals,
    split_texts,
)
from offline.data.kinds.numbers import (
    are_numbers,
    find_leading_zero,
    find_too_long,
    read_numbers,
)
from offline.data.kinds.texts import describe_texts


@dataclass(frozen=True)
class InferredColumn:
    """A column as an attribute.

    Attributes:
        attribute: of the column's kind.
        detail: how it was read, for people.
        not_numbers: positions at which a text stood among numbers.
        perhaps: another kind that the column may be of, "" where its content settles it.
    """

    attribute: Attribute
    detail: str
    not_numbers: Sequence[int] = ()
    perhaps: str = ""


def can_be_attribute(dtype: pl.DataType) -> bool:
    """Whether values of a type can become texts, lists of texts, numbers or booleans."""
    if isinstance(dtype, pl.List | pl.Array):
        inner: pl.DataType = dtype.inner  # type: ignore[assignment]
        return can_be_attribute(inner) and not inner.is_nested() and inner != pl.Duration
    return not dtype.is_nested() and dtype not in (pl.Binary, pl.Object)


def infer_attribute(
    name: str, values: pl.Series, asked: AttributeKind | None = None
) -> InferredColumn:
    """An attribute of a column's values; the title is always a text.

    Of texts, in this order: lists as JSON or a program writes them, booleans, numbers if nearly all
    are (and none is a code), lists between separators, else texts. Blank is missing.

    Args:
        name: of the attribute.
        values: of all items.
        asked: the kind that a person names; None: find it.
    """
    dtype = values.dtype
    if isinstance(dtype, pl.List | pl.Array):
        as_lists = [clean_parts(parts) for parts in values.cast(pl.List(pl.String)).to_list()]
        if asked != "text":
            return _column(name, "list", as_lists, "lists")
        return _column(name, "text", [parts and ", ".join(parts) for parts in as_lists], "lists")
    if name != TITLE and asked is None:
        typed = _infer_from_type(name, values)
        if typed:
            return typed
    texts = _clean(values.dt.total_seconds() if dtype == pl.Duration else values)
    if name == TITLE or asked == "text":
        return _column(name, "text", texts.to_list(), describe_texts(texts))
    return _as_asked(name, texts, asked) if asked else _infer_from_texts(name, texts)


def _infer_from_type(name: str, values: pl.Series) -> InferredColumn | None:
    """The attribute of a column whose type settles its kind, else None."""
    dtype = values.dtype
    if dtype == pl.Boolean:
        return _column(name, "boolean", values.to_list(), "booleans")
    if dtype == pl.Duration:
        seconds = values.dt.total_microseconds() / 1e6
        return _column(name, "number", _numbers(seconds), "durations, in seconds")
    if dtype.is_integer() or (dtype.is_decimal() and getattr(dtype, "scale", 0) == 0):
        wide = values.cast(pl.Int128)
        large = values.filter((wide > MAX_INTEGER) | (wide < -MAX_INTEGER))
        if not len(large):
            return _column(name, "number", values.cast(pl.Int64).to_list(), "whole numbers")
        detail = f"codes: {large[0]} is too long for a number"
        return _column(name, "text", wide.cast(pl.String).to_list(), detail)
    if dtype.is_numeric():
        return _column(name, "number", _numbers(values.cast(pl.Float64)), "numbers")
    return None


def _infer_from_texts(name: str, texts: pl.Series) -> InferredColumn:
    given = texts.drop_nulls()
    literals = read_literals(texts.to_list())
    if literals:
        return _lists(name, literals)
    booleans = read_booleans(texts)
    if booleans:
        return _column(name, "boolean", booleans[0].to_list(), booleans[1])
    # A leading zero all over a column of digits, or in one row of it, makes all of them names.
    code, numbers = find_leading_zero(given), read_numbers(texts)
    if not code and are_numbers(numbers):
        code = find_too_long(given)
    if code:
        return _column(name, "text", texts.to_list(), code)
    if are_numbers(numbers):
        slips = numbers.is_slip.arg_true().to_list()
        attribute = Attribute(name, "number", _numbers(numbers.values))
        return InferredColumn(attribute, numbers.detail, slips)
    separation = find_separator(name, given)
    if separation and separation.certain:
        return _lists(name, split_texts(texts, separation.separator))
    perhaps = f"lists between {separation.separator!r}" if separation else ""
    return InferredColumn(
        Attribute(name, "text", texts.to_list()), describe_texts(texts), perhaps=perhaps
    )


def _as_asked(name: str, texts: pl.Series, asked: AttributeKind) -> InferredColumn:
    """The kind that a person names; texts that are none of it are missing, or lists of one."""
    if asked == "list":
        literals = read_literals(texts.to_list())
        found = find_separator(name, texts.drop_nulls())
        separators = [s for s in LIST_SEPARATORS if texts.str.contains(s, literal=True).any()]
        separator = found.separator if found else (separators or ["|"])[0]
        return _lists(name, literals or split_texts(texts, separator))
    if asked == "boolean":
        booleans = read_booleans(texts)
        ones = (
            booleans[0]
            if booleans
            else texts.replace_strict(
                ["1", "0"], [True, False], default=None, return_dtype=pl.Boolean
            )
        )
        slips = (ones.is_null() & texts.is_not_null()).arg_true().to_list()
        return InferredColumn(Attribute(name, "boolean", ones.to_list()), "as asked", slips)
    numbers = read_numbers(texts)
    slips = numbers.is_slip.arg_true().to_list()
    attribute = Attribute(name, "number", _numbers(numbers.values))
    return InferredColumn(attribute, numbers.detail, slips)


def _column(
    name: str, kind: AttributeKind, values: Sequence[AttributeValue], detail: str
) -> InferredColumn:
    return InferredColumn(Attribute(name, kind, values), detail)


def _lists(name: str, read: ReadLists) -> InferredColumn:
    return _column(name, "list", read.values, read.detail)


def _clean(values: pl.Series) -> pl.Series:
    """Texts without blanks around them; null where nothing is left."""
    texts = values.cast(pl.String).str.strip_chars()
    return texts.set((texts == "").fill_null(value=False), None)


def _numbers(numbers: pl.Series) -> list[int | float | None]:
    """Ints where every number of the column is whole: 1995.0 stands for a year that had gaps."""
    finite = numbers.set(~numbers.is_finite().fill_null(value=True), None)
    if ((finite.round() == finite) & (finite.abs() <= MAX_INTEGER)).all():
        return finite.cast(pl.Int64).to_list()
    return finite.to_list()
