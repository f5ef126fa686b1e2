"""Labels for filter conditions that no item meets, usually misspelt values."""

from __future__ import annotations

import json

from app.model.filters import Matches

MAX_NAMED = 5
MAX_CHARACTERS = 60


def describe_unmatched(matches: Matches) -> list[str]:
    """Labels as in `no_match: genre "Comdey"`, at most six, each short.

    Filters that no item passes together, though each of their conditions has items, get one
    label: `no_match: filters`.
    """
    if not matches.unmatched:
        return [] if len(matches.items) else ["no_match: filters"]
    labels = [
        f"no_match: {_shorten(attribute)} {_in_words(condition)}"
        for attribute, condition in matches.unmatched[:MAX_NAMED]
    ]
    n_more = len(matches.unmatched) - MAX_NAMED
    if n_more > 0:
        labels.append(f"no_match: {n_more} more")
    return labels


def _in_words(condition: str | tuple[str, float]) -> str:
    if isinstance(condition, str):
        return json.dumps(_shorten(condition), ensure_ascii=False)
    bound, number = condition
    return f"{bound} {number:g}"


def _shorten(text: str) -> str:
    return text if len(text) <= MAX_CHARACTERS else text[:MAX_CHARACTERS] + "…"
