"""The Python client's types are those of the running service's OpenAPI document."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from types import NoneType, UnionType
from typing import (
    Any,
    Literal,
    Required,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

import pytest
from pydantic import BaseModel

from longtail_client import answers, calls, requests
from longtail_client.calls import Call
from tests.clients.conftest import RunningService
from tests.clients.public_api import public_part

SIMPLE = {
    str: "str",
    bool: "bool",
    int: "int",
    float: "float",
    NoneType: "None",
    Any: "Any",
}
JSON_TYPES = {
    "string": "str",
    "boolean": "bool",
    "integer": "int",
    "number": "float",
    "null": "None",
}
ANSWERS = [
    one
    for one in vars(answers).values()
    if isinstance(one, type) and issubclass(one, BaseModel) and one.__module__ == answers.__name__
    if not one.__name__.startswith("_")
]
REQUESTS = [one for one in vars(requests).values() if is_typeddict(one)]
CALLS: list[Call[Any]] = [
    calls.recommend({}),
    calls.recommend_batch([]),
    calls.predict_ratings({"item_ids": []}),
    calls.send_events([]),
    calls.similar_items("{item_id}", 1, ["title"], {}),
    calls.change_items([]),
    calls.forget_user("{user_id}"),
    calls.live(),
    calls.ready(),
]


def written(kind: Any) -> str:
    """A type of the client as text: `list[Filter] | None`."""
    if kind in SIMPLE:
        return SIMPLE[kind]
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Required:
        return written(arguments[0])
    if origin is Literal:
        return " | ".join(sorted(map(repr, arguments)))
    if origin in (Union, UnionType):
        return union(map(written, arguments))
    if origin in (list, Sequence):
        return f"list[{written(arguments[0])}]"
    if origin in (dict, Mapping):
        return f"dict[str, {written(arguments[1])}]"
    name: str = kind.__name__
    return name


def declared(schema: dict[str, Any], *, is_open: bool) -> str:
    """The same of a schema; where it is open, texts that are one of a list are any text."""
    if reference := schema.get("$ref"):
        return str(reference).rpartition("/")[2]
    if choices := schema.get("anyOf") or schema.get("oneOf"):
        return union(declared(one, is_open=is_open) for one in choices)
    if "enum" in schema or "const" in schema:
        values = schema.get("enum", [schema.get("const")])
        return "str" if is_open else " | ".join(sorted(map(repr, values)))
    match schema.get("type"):
        case "array":
            return f"list[{declared(schema['items'], is_open=is_open)}]"
        case "object":
            values = schema.get("additionalProperties")
            inner = declared(values, is_open=is_open) if isinstance(values, dict) else "Any"
            return f"dict[str, {inner}]"
        case None:
            return "Any"
        case kind:
            return JSON_TYPES[kind]


def union(names: Iterator[str] | map[str]) -> str:
    return " | ".join(sorted({name for text in names for name in split(text)}))


def split(text: str) -> list[str]:
    """The parts of a union; none of those here has one inside of it that is in brackets alone."""
    return [text] if "[" in text else text.split(" | ")


def parts_of(schema: dict[str, Any], *, is_open: bool) -> dict[str, tuple[str, bool]]:
    """Type of each property, and whether it is always there."""
    required = schema.get("required", [])
    return {
        name: (declared(one, is_open=is_open), name in required)
        for name, one in schema["properties"].items()
    }


@pytest.fixture(scope="module")
def document(service: RunningService) -> dict[str, Any]:
    return service.document


@pytest.mark.parametrize("model", ANSWERS, ids=lambda one: one.__name__)
def test_answers_are_as_documented(document: dict[str, Any], model: type[BaseModel]) -> None:
    found = {
        name: (written(field.annotation), field.is_required())
        for name, field in model.model_fields.items()
    }
    schema = document["components"]["schemas"][model.__name__]
    assert found == parts_of(schema, is_open=True)


@pytest.mark.parametrize("kind", REQUESTS, ids=lambda one: one.__name__)
def test_requests_are_as_documented(document: dict[str, Any], kind: Any) -> None:
    hints = get_type_hints(kind, include_extras=True)
    found = {name: (written(one), get_origin(one) is Required) for name, one in hints.items()}
    schema = document["components"]["schemas"][kind.__name__]
    assert found == parts_of(schema, is_open=False)


def test_a_difference_is_found() -> None:
    schema: dict[str, Any] = {"anyOf": [{"type": "array", "items": {"type": "string"}}]}
    assert declared(schema, is_open=True) == written(list[str]) != written(list[int])
    schema["anyOf"].append({"type": "null"})
    assert declared(schema, is_open=True) == written(list[str] | None) != written(list[str])
    words = {"type": "string", "enum": ["b", "a"]}
    assert declared(words, is_open=False) == written(Literal["a", "b"]) != written(Literal["a"])
    assert declared(words, is_open=True) == written(str)


def test_every_call_of_the_api_is_there(document: dict[str, Any]) -> None:
    documented = {
        (method.upper(), path)
        for path, operations in public_part(document)["paths"].items()
        for method in operations
    }
    assert {(one.method, path_of(one)) for one in CALLS} == documented


@pytest.mark.parametrize("call", CALLS, ids=lambda one: f"{one.method} {path_of(one)}")
def test_calls_send_and_get_what_is_documented(document: dict[str, Any], call: Call[Any]) -> None:
    operation = document["paths"][path_of(call)][call.method.lower()]
    answer = operation["responses"]["200"]["content"]["application/json"]["schema"]
    assert declared(answer, is_open=True) == call.answer.__name__
    assert (call.by == "operator") is (operation["tags"] == ["admin"])
    assert ("requestBody" in operation) is (call.body is not None)
    in_url = {one["name"] for one in operation.get("parameters", []) if one["in"] == "query"}
    assert set(call.parameters) == in_url
    if call.body and call.body.keys() & {"requests", "events", "items"}:
        [name] = call.body
        choices = operation["requestBody"]["content"]["application/json"]["schema"]
        [model] = re.findall(r"schemas/(\w+Request)\b", str(choices))
        assert list(document["components"]["schemas"][model]["properties"]) == [name]


def path_of(call: Call[Any]) -> str:
    return call.path.replace("%7B", "{").replace("%7D", "}")
