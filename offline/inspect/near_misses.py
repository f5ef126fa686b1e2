"""Ids of one file that are nearly ids of another: `101.0` and `101`, `b7` and `B7`."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from offline.progress import track

MAX_EXAMPLES = 3
# Characters without width, which nobody sees: spaces of zero width, joiners, byte order marks.
_INVISIBLE = re.compile(r"[\s\u00ad\u200b-\u200f\u2060\ufeff]+")
_FRACTION = re.compile(r"[.,]0+$")
_QUOTES = "\"'`´‘’“”«»"

# Fewer ids are compared within a second or two.
_SHOW_PROGRESS_FROM = 200_000

Form = Callable[[str], str]


@dataclass(frozen=True)
class NearMiss:
    """Ids that would be ids of the other file, were it not for one difference.

    Attributes:
        difference: between them, such as "upper and lower case".
        count: how many ids.
        examples: pairs of an id and its counterpart in the other file.
    """

    difference: str
    count: int
    examples: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        pairs = ", ".join(f"{ours!r:.60} and {theirs!r:.60}" for ours, theirs in self.examples)
        return f"{self.count:,} differ by {self.difference} alone ({pairs})"


def find_near_misses(ids: Sequence[str], others: Sequence[str]) -> list[NearMiss]:
    """Near misses by their difference; an id is counted under the first one that explains it.

    Args:
        ids: that are not among `others`.
        others: ids of the other file.
    """
    found = []
    left = list(ids)
    forms = list(_forms(ids, others))
    is_long = len(ids) + len(others) > _SHOW_PROGRESS_FROM
    for difference, form in track(forms, "comparing ids", unit="form") if is_long else forms:
        if not left:
            break
        counterparts = _by_form(others, form)
        pairs = [
            (item_id, counterparts[formed])
            for item_id in left
            if (formed := form(item_id)) and formed in counterparts
        ]
        if pairs:
            found.append(NearMiss(difference, len(pairs), tuple(pairs[:MAX_EXAMPLES])))
            explained = {item_id for item_id, _ in pairs}
            left = [item_id for item_id in left if item_id not in explained]
    return found


def _forms(ids: Sequence[str], others: Sequence[str]) -> Iterable[tuple[str, Form]]:
    simple: list[tuple[str, Form]] = [
        ("blanks or invisible characters", _without_blanks),
        ("a decimal part of zeros", _without_fraction),
        ("the way letters are composed", _composed),
        ("upper and lower case", str.casefold),
        ("leading zeros", _without_zeros),
        ("quotes", lambda text: text.strip(_QUOTES)),
        ("punctuation", lambda text: re.sub(r"[\W_]+", "", text)),
    ]
    yield from simple
    prefixes = sorted({_beginning(ids), _beginning(others)} - {""})
    beginnings = [(f"the beginning {p!r:.60}", partial(_without_prefix, p)) for p in prefixes]
    yield from beginnings
    # A single id begins with nearly all of itself.
    are_many = len(ids) > 1 and len(others) > 1

    def all_at_once(text: str) -> str:
        for _, form in (*(beginnings if are_many else ()), *simple):
            text = form(text)
        return text

    yield "several of these at once", all_at_once


def _beginning(ids: Sequence[str]) -> str:
    """What all ids begin with, without the digits that only seem to belong to it."""
    if not ids:
        return ""
    first, last = min(ids), max(ids)  # all others stand between them
    n_common = next(
        (n for n, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first)
    )
    return first[:n_common].rstrip("0123456789")


def _by_form(ids: Iterable[str], form: Form) -> dict[str, str]:
    """The first id of each form."""
    by_form: dict[str, str] = {}
    for item_id in ids:
        by_form.setdefault(form(item_id), item_id)
    return by_form


def _without_prefix(prefix: str, text: str) -> str:
    return text.removeprefix(prefix)


def _without_blanks(text: str) -> str:
    return _INVISIBLE.sub("", text)


def _without_fraction(text: str) -> str:
    return _FRACTION.sub("", text)


def _composed(text: str) -> str:
    return unicodedata.normalize("NFKC", text)


def _without_zeros(text: str) -> str:
    return text.lstrip("0") or text[-1:]
