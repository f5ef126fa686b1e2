"""All tables and keys of a recipe as a page, made from their pydantic models.

python -m offline.recipe_reference > docs/recipe-reference.md
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from typing import Any, TypeGuard, get_args

from pydantic import BaseModel, TypeAdapter

from offline.direct.config import DirectConfig, FactorConfig
from offline.rating.config import RatingConfig, RatingNetworkConfig
from offline.recipe import Recipe
from offline.recommender.config import RecommenderConfig, SequenceConfig

_INTRODUCTION = """\
# Recipe reference

Every key that a recipe may have, by table. Above the tables stand `description`, which alone may
not be left out, and `kind`, of the bundle: KINDS (`sequential`). A range includes its ends unless
`above` or `below` stands there. How the keys go together is in [Recipes](recipes.md).
"""
_HEAD = "| key | values | default | meaning |\n| --- | --- | --- | --- |"
_TYPES = {
    "integer": "whole number",
    "number": "number",
    "string": "text",
    "boolean": "`true`, `false`",
    "array": "list",
    "object": "table",
}


def render_reference() -> str:
    """The page, Markdown."""
    schema = TypeAdapter(Recipe).json_schema()["properties"]
    parts = [_INTRODUCTION.replace("KINDS", _values(schema["kind"]))]
    for table, field in Recipe.model_fields.items():
        if table == "recommender":
            parts += _describe_networks(table, RecommenderConfig, "backbone", SequenceConfig)
        elif table == "direct":
            parts += _describe_networks(table, DirectConfig, "model", FactorConfig)
        elif table == "rating":
            parts += _describe_networks(table, RatingConfig, "network", RatingNetworkConfig)
        elif _is_model(field.annotation):
            parts += _describe_table(table, field.annotation)
    return "\n".join(parts)


def _describe_table(table: str, model: type[BaseModel]) -> Iterator[str]:
    yield f"## `[{table}]`\n\n{_summary(model)}\n\n{_rows(model)}\n"
    for key, field in model.model_fields.items():
        if _is_model(field.annotation):
            yield from _describe_table(f"{table}.{key}", field.annotation)


def _describe_networks(table: str, union: Any, key: str, shared: type[BaseModel]) -> Iterator[str]:
    """The keys that a table has whatever the network, then those that each network has besides.

    Args:
        table: name of the table.
        union: the annotated union of the networks' configurations, the default first.
        key: the one that names the network.
        shared: the class with the keys of all.
    """
    networks = [get_args(choice)[0] for choice in get_args(get_args(union)[0])]
    names = {network: network.model_fields[key].default for network in networks}
    choices = ", ".join(f"`{name}`" for name in names.values())
    yield (
        f"## `[{table}]`\n\n`{key}` is one of {choices} (`{next(iter(names.values()))}`); "
        f"all have these keys:\n\n{_rows(shared)}\n"
    )
    for network, name in names.items():
        own = set(network.model_fields) - set(shared.model_fields) - {key}
        yield f'### `{key} = "{name}"`\n\n{_summary(network)}\n'
        if own:
            yield f"{_rows(network, own)}\n"


def _rows(model: type[BaseModel], chosen: set[str] | None = None) -> str:
    schema = TypeAdapter(model).json_schema()["properties"]
    lines = [_HEAD]
    for key, field in model.model_fields.items():
        if _is_model(field.annotation) or (chosen is not None and key not in chosen):
            continue
        if not field.description:
            raise ValueError(f"{model.__name__}.{key} has no description")
        cells = [f"`{key}`", _values(schema[key]), f"`{_written(field.default)}`"]
        lines.append(f"| {' | '.join([*cells, _cell(field.description)])} |")
    return "\n".join(lines)


def _summary(model: type[BaseModel]) -> str:
    return (model.__doc__ or "").strip().splitlines()[0]


def _is_model(annotation: object) -> TypeGuard[type[BaseModel]]:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _values(schema: Mapping[str, Any]) -> str:
    """The type and range of a key."""
    if "enum" in schema:
        return ", ".join(f"`{_written(value)}`" for value in schema["enum"])
    if "const" in schema:
        return f"`{_written(schema['const'])}`"
    if "anyOf" in schema:
        kinds = [_values(kind) for kind in schema["anyOf"] if kind.get("type") != "null"]
        return " or ".join(dict.fromkeys(kinds))
    return f"{_TYPES[schema['type']]}{_range(schema)}"


def _range(schema: Mapping[str, Any]) -> str:
    low, high = schema.get("minimum"), schema.get("maximum")
    if (above := schema.get("exclusiveMinimum")) is not None:
        low = f"above {_number(above)}"
    if (below := schema.get("exclusiveMaximum")) is not None:
        high = f"below {_number(below)}"
    if low is None and high is None:
        return ""
    if high is None:
        return f", {_number(low)} or more" if not isinstance(low, str) else f", {low}"
    return f", {_number(low)} to {_number(high)}"


def _number(value: Any) -> str:
    return (
        f"{value:,g}"
        if isinstance(value, float)
        else f"{value:,}"
        if isinstance(value, int)
        else value
    )


def _written(value: object) -> str:
    """A value as it stands in a recipe."""
    if isinstance(value, str):
        return value or '""'
    if value is None:
        return "unset"
    return json.dumps(list(value) if isinstance(value, tuple) else value)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def main() -> None:
    """Print the page."""
    argparse.ArgumentParser(
        prog="python -m offline.recipe_reference",
        description="Print the page of all recipe keys, as it stands in docs/recipe-reference.md.",
    ).parse_args()
    print(render_reference(), end="")


if __name__ == "__main__":
    main()
