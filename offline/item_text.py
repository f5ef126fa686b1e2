"""The text of an item's attributes, for language model and text encoder."""

from __future__ import annotations

from model_store.attributes import AttributeValue, ItemAttributes
from model_store.id_map import IdMap

TITLE = "title"


def item_text(attributes: ItemAttributes, item_index: int, item_id: str) -> str:
    """A line an attribute, the title first, then the others in column order; missing ones left out.

    An item without a title is named by its `item_id`, so that no text is empty.
    """
    row = attributes.row(item_index)
    title = _as_text(row.pop(TITLE, None)) or item_id
    lines = [f"Title: {title}"]
    for name, value in row.items():
        if text := _as_text(value):
            lines.append(f"{name.replace('_', ' ').capitalize()}: {text}")
    return "\n".join(lines)


def item_texts(attributes: ItemAttributes, item_ids: IdMap) -> list[str]:
    """Texts of all items, aligned with item_index 1..N."""
    return [
        item_text(attributes, item_index, item_id)
        for item_index, item_id in enumerate(item_ids.ids, start=1)
    ]


def _as_text(value: AttributeValue) -> str:
    """A value on one line; the empty text for a missing one."""
    if value is None:
        return ""
    text = ", ".join(value) if isinstance(value, list) else str(value)
    return " ".join(text.split())
