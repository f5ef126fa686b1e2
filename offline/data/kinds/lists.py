"""Lists that stand in one text: JSON, Python, PostgreSQL, or parts between separators."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from offline.data.kinds.numbers import MISSING

# A separator in one text in a hundred is punctuation; between short parts all over, it separates.
LISTS_SHARE = 0.1
LIST_SEPARATORS = ("|", ";", ",", "，", "、", " > ", "///", "/", "\n")
MAX_PART_CHARACTERS = 64
_MAX_WORDS = 4  # in a part between commas; more are a phrase
# Columns with such names hold prose, addresses or names, in which commas are punctuation.
_PROSE = re.compile(
    r"desc|text|plot|summary|overview|review|comment|note|title|name|address|author|location|city"
    r"|place|url|date|time|price|html",
    re.IGNORECASE,
)
# Columns with such names hold lists, so a comma in them separates.
_LISTS = re.compile(
    r"genre|tags?\b|categor|keyword|colou?rs?\b|sizes\b|materials|topics|actors|cast\b|features"
    r"|labels|ingredients|languages|styles|countries|interests|skills|subjects",
    re.IGNORECASE,
)
_NAME_KEYS = ("name", "title", "label", "value", "tag")
_ELEMENTS = re.compile(r"'((?:[^'\\]|\\.)*)'|\"((?:[^\"\\]|\\.)*)\"")

Parts = list[str] | None


@dataclass(frozen=True)
class ReadLists:
    """A column of lists; `values[r]` are the parts, None where there is no text."""

    values: list[Parts]
    detail: str


def clean_parts(parts: Sequence[str | None] | None) -> Parts:
    """Parts without blanks around them; blank and missing ones are left out."""
    if parts is None:
        return None
    return [text for part in parts if part is not None and (text := as_encodable(part).strip())]


def as_encodable(text: str) -> str:
    """A text with U+FFFD in place of lone surrogates, which JSON can name and UTF-8 can't carry."""
    return (
        text
        if text.isascii()
        else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    )


def read_literals(texts: Sequence[str | None]) -> ReadLists | None:
    """Lists written as JSON, in Python or PostgreSQL; None where a text is none of these."""
    known: dict[str, Parts] = {}
    spelling = ""
    for text in texts:
        if text is None or text in known:
            continue
        if text.lower() in MISSING:
            known[text] = None
            continue
        read = _read_literal(text)
        if read is None:
            return None
        known[text], spelling = clean_parts(read[0]), spelling or read[1]
    if not spelling:
        return None
    return ReadLists([None if text is None else known[text] for text in texts], spelling)


def _read_literal(text: str) -> tuple[list[str], str] | None:
    bracketed = (text[0], text[-1]) in (("[", "]"), ("(", ")"), ("{", "}"))
    if not bracketed and not text.startswith("<"):
        return None
    if text.startswith("<"):
        tags = re.fullmatch(r"(?:<([^<>/\s]+)>)+", text)
        return (re.findall(r"<([^<>]+)>", text), "lists as <a><b>") if tags else None
    elements = _ELEMENTS.findall(text[1:-1])
    if len(elements) > 1 and not _ELEMENTS.sub("", text[1:-1]).strip():
        return [one or two for one, two in elements], "lists as numpy writes them"
    for load, spelling in (
        (json.loads, "JSON lists"),
        (ast.literal_eval, "lists as Python writes them"),
    ):
        try:
            parts = load(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
            continue
        if not isinstance(parts, list | tuple | set):
            return (
                None
                if text.startswith("{") and isinstance(parts, dict) and parts
                else ([], spelling)
            )
        if parts and all(isinstance(part, dict) for part in parts):
            names = _names_of(list(parts))
            return (names, "lists of objects, by their names") if names else None
        if any(isinstance(part, list | dict | tuple | set) for part in parts):
            return None
        found = [str(part) for part in parts if part is not None]
        return (sorted(found) if isinstance(parts, set) else found), spelling
    return _read_unquoted(text)


def _names_of(objects: Sequence[dict[Any, Any]]) -> list[str] | None:
    """What objects such as {"id": 28, "name": "Action"} are called; None where one has no name."""
    names = [next((one[key] for key in _NAME_KEYS if key in one), None) for one in objects]
    return list(map(str, names)) if all(isinstance(name, str) for name in names) else None


def _read_unquoted(text: str) -> tuple[list[str], str] | None:
    """{a,"b c"} as PostgreSQL writes it; not [a, b], which may be prose."""
    inner = text[1:-1]
    if not text.startswith("{") or ":" in inner:
        return None
    parts = re.findall(r'\s*("(?:[^"\\]|\\.)*"|[^,{}"]+)\s*(?:,|$)', inner)
    return [part.strip().strip('"') for part in parts], "lists as PostgreSQL writes them"


@dataclass(frozen=True)
class Separation:
    """What a column's texts say about a separator: whether it makes lists, or only could."""

    separator: str
    certain: bool


def find_separator(name: str, texts: pl.Series) -> Separation | None:
    """The separator of a column of texts without nulls; None where it can't be one of lists.

    Between short parts "|" and ";" make lists. A comma does too, if parts come again in other texts
    and at other positions, as genres do and "Paris, France" doesn't; so do commas of other scripts,
    slashes, the signs of paths of categories, and line breaks.
    """
    for separator in LIST_SEPARATORS:
        with_it = texts.str.contains(separator, literal=True)
        if not with_it.any() or with_it.sum() < LISTS_SHARE * len(texts):
            continue
        parts = texts.str.split(separator).list.eval(pl.element().str.strip_chars())
        lengths = parts.list.eval(pl.element().str.len_chars()).list.max()
        if (lengths > MAX_PART_CHARACTERS).any():
            continue
        if separator == ";" and texts.str.contains(r"&#?\w+;").any():
            continue  # an entity of HTML
        if separator in ("|", ";"):
            return Separation(separator, certain=True)
        if _are_phrases(parts):
            continue
        if _LISTS.search(name) and separator != "/":
            return Separation(separator, certain=True)
        if not _PROSE.search(name):
            certain = _parts_come_again(parts)
            if certain or separator not in "/\n":  # fractions, and prose
                return Separation(separator, certain=certain)
    return None


def split_texts(texts: pl.Series, separator: str) -> ReadLists:
    """Parts between a separator."""
    values = texts.str.split(separator).list.eval(_without_quotes(pl.element())).to_list()
    return ReadLists([clean_parts(parts) for parts in values], f"lists between {separator!r}")


def _without_quotes(parts: pl.Expr) -> pl.Expr:
    return parts.str.strip_chars().str.replace(r'^"([^"]*)"$|^\'([^\']*)\'$', "$1$2")


def _are_phrases(parts: pl.Series) -> bool:
    """Whether parts look like those of a sentence: many words, or the end of one inside."""
    flat = parts.explode()
    n_words = flat.str.count_matches(r"\s+") + 1
    return bool((n_words > _MAX_WORDS).any() or flat.str.contains(r"[.!?](?:\s|$)").any())


def _parts_come_again(parts: pl.Series) -> bool:
    """Whether parts stand in several texts, and some of them at several positions."""
    frame = pl.DataFrame({"part": parts}).with_row_index("row")
    frame = frame.with_columns(pl.int_ranges(pl.col("part").list.len()).alias("position"))
    flat = frame.explode("part", "position").filter(pl.col("part") != "")
    each = flat.group_by("part").agg(
        pl.col("row").n_unique().alias("texts"),
        pl.col("position").n_unique().alias("positions"),
        pl.len().alias("times"),
    )
    again = each.filter(pl.col("texts") > 1)
    share = float(again["times"].sum() or 0) / max(flat.height, 1)
    return share >= 0.5 and bool((again["positions"] > 1).any())
