"""The text of an item's attributes, for language model and text encoder."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from model_store.attributes import AttributeKind, AttributeValue, ItemAttributes
from model_store.errors import ConfigError
from model_store.id_map import IdMap
from offline.data.kinds.texts import prose_of, words_of

TITLE = "title"
_YEAR = "year"


def item_text(
    attributes: ItemAttributes,
    item_index: int,
    item_id: str,
    columns: Sequence[str] | None = None,
) -> str:
    """A line an attribute, the title first, then the others in column order; missing ones left out.

    An item without a title is named by its `item_id`, so that no text is empty. Markup and
    addresses of pages and images are left out of every text.

    Args:
        attributes: of all items.
        item_index: 1..N.
        item_id: of the item.
        columns: attributes beside the title, whatever they hold; None: texts and lists with words
            in them, and years. Prices, flags, dates and codes tell an encoder nothing.
    """
    row = attributes.row(item_index)
    title = row.pop(TITLE, None)
    lines = [f"Title: {_as_words(title) or item_id}"]
    for name in row if columns is None else columns:
        attribute = attributes.get(name)
        if attribute is None or name == TITLE:
            continue
        as_text = _as_words if columns is not None else _prose_reader(name, attribute.kind)
        if as_text and (text := as_text(row[name])):
            lines.append(f"{name.replace('_', ' ').capitalize()}: {text}")
    return "\n".join(lines)


def item_texts(
    attributes: ItemAttributes, item_ids: IdMap, columns: Sequence[str] | None = None
) -> list[str]:
    """Texts of all items, aligned with item_index 1..N; `columns` as for `item_text`."""
    return [
        item_text(attributes, item_index, item_id, columns)
        for item_index, item_id in enumerate(item_ids.ids, start=1)
    ]


def check_text_columns(attributes: ItemAttributes, columns: Sequence[str] | None) -> None:
    """Check that a recipe's `text_columns` are attributes of the catalogue.

    Raises:
        ConfigError: one of them isn't.
    """
    for name in columns or ():
        if name not in attributes.names:
            raise ConfigError(
                f"knowledge.text_columns: {name!r} is none of the catalogue's attributes "
                f"({', '.join(attributes.names)})"
            )


def _prose_reader(name: str, kind: AttributeKind) -> Callable[[AttributeValue], str] | None:
    """How the values of an attribute become part of a text; None where they don't."""
    if kind == "number":
        return _as_words if _YEAR in name.lower() else None
    return None if kind == "boolean" else _as_prose


def _as_words(value: AttributeValue) -> str:
    """A value on one line; the empty text for a missing one."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return words_of(", ".join(value) if isinstance(value, list) else str(value))


def _as_prose(value: AttributeValue) -> str:
    """The words of a text, or of the parts of a list; empty where there are none."""
    if isinstance(value, list):
        return ", ".join(words for part in value if (words := prose_of(part)))
    return prose_of(value) if isinstance(value, str) else ""
