"""Missing attributes of items, written by a language model from examples (Llama4Rec 4.2.3).

The prompt shows items of which the attributes are known, then one of which they aren't. The answer
is read line by line, `Name: value`, and what is no sensible value is dropped.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from model_store.attributes import MAX_INTEGER, Attribute, AttributeValue, ItemAttributes
from model_store.texts import is_encodable
from offline.knowledge.prompt import Prompt

_ASK = "Complete the attributes of the last item, in the form of the examples."
# A model that doesn't know something says so in one of these ways.
_NO_ANSWERS = {"", "-", "?", "n/a", "na", "none", "null", "unknown", "not available", "various"}
_NUMBER = re.compile(r"-?\d+(?:,\d{3})*(?:\.\d+)?")


@dataclass(frozen=True)
class Wanted:
    """An attribute to complete.

    Attributes:
        name: of the attribute.
        kind: text, a list of texts (separated by commas in an answer), or number.
        max_characters: longer values are no sensible answer.
        allowed: the only values, where there are no others; letter case aside.
        within: the smallest and largest valid number; None: any.
    """

    name: str
    kind: Literal["text", "list", "number"] = "text"
    max_characters: int = 80
    allowed: tuple[str, ...] = ()
    within: tuple[float, float] | None = None

    @property
    def label(self) -> str:
        """The name as prompts show it."""
        return self.name.replace("_", " ").capitalize()

    def parse(self, text: str) -> AttributeValue:
        """The value that a text states; None where it states none that is valid."""
        value = " ".join(text.split()).strip(" .\"'")
        if value.casefold() in _NO_ANSWERS or len(value) > self.max_characters:
            return None
        if not is_encodable(value):
            return None
        if self.kind == "number":
            return self._in_range(_number(value))
        if self.kind == "list":
            parts = [self._permitted(part.strip()) for part in value.split(",")]
            return list(dict.fromkeys(part for part in parts if part)) or None
        return self._permitted(value)

    def _in_range(self, number: int | float | None) -> int | float | None:
        if number is None or self.within is None:
            return number
        low, high = self.within
        return number if low <= number <= high else None

    def _permitted(self, value: str) -> str | None:
        if not self.allowed:
            return None if value.casefold() in _NO_ANSWERS else value
        known = {name.casefold(): name for name in self.allowed}
        return known.get(value.casefold())


@dataclass(frozen=True)
class Example:
    """An item with known attributes: its text, and values by name."""

    text: str
    values: Mapping[str, str]


def completion_prompt(text: str, examples: Sequence[Example], wanted: Sequence[Wanted]) -> Prompt:
    """The prompt P3: examples, then the item's text and the first missing attribute's name."""
    blocks = [
        "\n".join([example.text, *(f"{one.label}: {example.values[one.name]}" for one in wanted)])
        for example in examples
    ]
    ask = "\n\n".join([_ASK, *blocks, text])
    return Prompt(ask, answer_begins=f"{wanted[0].label}:", item=text)


def parse_completion(answer: str, wanted: Sequence[Wanted]) -> dict[str, AttributeValue]:
    """Valid values of an answer by attribute; those that are missing or senseless are left out.

    Only the first line of an attribute counts, and nothing behind an empty line: there the model
    goes on with an item of its own.
    """
    values: dict[str, AttributeValue] = {}
    for line in answer.strip().split("\n\n")[0].splitlines():
        label, colon, text = line.partition(":")
        for one in wanted:
            if colon and label.strip().casefold() == one.label.casefold():
                values.setdefault(one.name, one.parse(text))
    return {name: value for name, value in values.items() if value is not None}


def augmented_attributes(
    attributes: ItemAttributes,
    completed: Mapping[int, Mapping[str, AttributeValue]],
    wanted: Sequence[Wanted],
) -> ItemAttributes:
    """A' = A ∪ {a_d1, a_d2, …}: columns for the wanted attributes, filled where they are missing.

    A value that the catalogue has is never replaced.

    Args:
        attributes: A.
        completed: values by item_index and attribute.
        wanted: the attributes.

    Raises:
        ValueError: the catalogue has a wanted attribute as another kind.
    """
    columns = {name: attributes.get(name) for name in attributes.names}
    for one in wanted:
        known = columns.get(one.name)
        if known and known.kind != one.kind:
            raise ValueError(f"attribute {one.name!r} is a {known.kind}, not a {one.kind}")
        present = known.values if known else [None] * attributes.n_items
        values = [
            completed.get(item, {}).get(one.name) if value is None else value
            for item, value in enumerate(present, start=1)
        ]
        columns[one.name] = Attribute(one.name, one.kind, values)
    return ItemAttributes([column for column in columns.values() if column], attributes.n_items)


def _number(value: str) -> int | float | None:
    found = _NUMBER.fullmatch(value)
    if not found:
        return None
    digits = found.group().replace(",", "")
    number = float(digits) if "." in digits else int(digits)
    return number if abs(number) <= MAX_INTEGER else None
