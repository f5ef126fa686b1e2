"""Finds items by a part of their title, or by their id."""

from __future__ import annotations

from dataclasses import dataclass

from app.model.background import yield_cpu
from app.model.model import Model

# Titles that are compared between two pauses; they take a fraction of a millisecond.
_TITLES_A_STEP = 1_000


@dataclass(frozen=True)
class Found:
    """The first items that match, as item_indices, and the number of all that do."""

    items: list[int]
    n_matches: int


def find_items(model: Model, text: str, limit: int) -> Found:
    """Items whose title holds a text, whatever its case; takes long for a large catalogue.

    The item with that id comes first, then titles that begin with the text, then the others; all in
    the order of the catalogue.

    Args:
        model: its items are searched, fresh ones too.
        text: not empty.
        limit: number of items returned.
    """
    wanted = text.casefold()
    by_id = model.ids.index_of(text)
    beginning: list[int] = []
    inside: list[int] = []
    titles = model.attributes.get("title")
    for item_index, title in enumerate(titles.values if titles else (), start=1):
        if item_index % _TITLES_A_STEP == 0:
            yield_cpu()
        if item_index == by_id or not isinstance(title, str):
            continue
        place = title.casefold().find(wanted)
        if place >= 0:
            (inside if place else beginning).append(item_index)
    found = ([] if by_id is None else [by_id]) + beginning + inside
    return Found(found[:limit], len(found))
