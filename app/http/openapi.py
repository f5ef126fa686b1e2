"""Additions to the framework's OpenAPI document."""

from __future__ import annotations

import json
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from app.http.problems import MEDIA_TYPE
from app.http.requests import (
    BatchRequest,
    CanaryRequest,
    Event,
    EventsRequest,
    ExperimentRequest,
    ItemsRequest,
    RatingsRequest,
    RecommendRequest,
    ShadowRequest,
)
from app.http.responses import ProblemDocument
from model_store.rules import Rules

_REFERENCE = "#/components/schemas/{model}"
_DOCUMENTED: tuple[type[BaseModel], ...] = (
    RecommendRequest,
    RatingsRequest,
    BatchRequest,
    EventsRequest,
    Event,
    ItemsRequest,
    Rules,
    CanaryRequest,
    ShadowRequest,
    ExperimentRequest,
    ProblemDocument,
)
_MEANINGS = {
    401: "The bearer token is missing or wrong.",
    403: "The admin endpoints are closed, or the token's role is too low.",
    404: "Not found.",
    409: "The registry, or the kind of the active version, doesn't allow it now.",
    413: "The body is too long.",
    415: "The body's encoding is not supported.",
    422: "The request is wrong; `errors` names each field.",
    424: "The bundle failed a check; the running version stays.",
    429: "Too many requests at once; see `Retry-After`.",
    503: "Not ready; see `Retry-After`.",
}


TAGS = [
    {"name": "recommend", "description": "Requests of callers."},
    {"name": "operate", "description": "Health and metrics."},
    {"name": "admin", "description": "Versions; needs the admin token (Authorize)."},
]
_PERSON = {"user_id": "196", "k": 10, "fields": ["title"]}
EXAMPLES: dict[type[BaseModel], dict[str, dict[str, Any]]] = {
    RecommendRequest: {
        "user": {"summary": "A known user", "value": _PERSON},
        "history": {
            "summary": "A history in the request",
            "value": {"history": ["242", "302"], "k": 5, "explain": True},
        },
        "interests": {
            "summary": "A new user, by interests",
            "value": {"interests": "slow science fiction", "k": 5},
        },
        "filters": {
            "summary": "Only some items",
            "value": {**_PERSON, "filters": {"genres": {"any": ["Comedy"]}}, "exclude": ["50"]},
        },
    },
    RatingsRequest: {
        "user": {
            "summary": "A known user",
            "value": {"user_id": "196", "item_ids": ["50", "181"]},
        }
    },
    BatchRequest: {
        "two": {
            "summary": "Two requests",
            "value": {"requests": [{"user_id": "196"}, {"history": ["242"], "k": 3}]},
        }
    },
    EventsRequest: {
        "one": {"summary": "One event", "value": {"user_id": "196", "item_id": "242"}},
        "several": {
            "summary": "Several events",
            "value": {
                "events": [
                    {"user_id": "196", "item_id": "242", "timestamp": 1767225600},
                    {"user_id": "22", "item_id": "302", "rating": 4},
                ]
            },
        },
    },
    ItemsRequest: {
        "withdraw": {
            "summary": "Sold out",
            "value": {"items": [{"item_id": "242", "available": False}]},
        },
        "attributes": {
            "summary": "Another attribute",
            "value": {"items": [{"item_id": "242", "attributes": {"year": 1997}}]},
        },
    },
    Rules: {
        "several": {
            "summary": "One of each kind",
            "value": {
                "rules": [
                    {"name": "sold out", "action": "hide", "item_ids": ["50", "181"]},
                    {
                        "name": "winter",
                        "action": "boost",
                        "filters": {"genres": {"any": ["Drama"]}},
                        "factor": 2,
                        "from": "2026-12-01T00:00:00Z",
                        "until": "2027-03-01T00:00:00Z",
                    },
                    {
                        "name": "horror",
                        "action": "bury",
                        "factor": 10,
                        "filters": {"genres": {"any": ["Horror"]}},
                        "context": {"page": "kids"},
                    },
                    {"name": "premiere", "action": "pin", "item_id": "302", "rank": 1},
                    {
                        "name": "two of a genre",
                        "action": "cap",
                        "attribute": "genres",
                        "at_most": 2,
                    },
                ]
            },
        }
    },
    CanaryRequest: {"five": {"summary": "5 % of the users", "value": {"percent": 5}}},
    ShadowRequest: {"tenth": {"summary": "A tenth", "value": {"share": 10}}},
    ExperimentRequest: {
        "defaults": {
            "summary": "More diverse answers for half of the users",
            "value": {
                "name": "diverse",
                "arms": [
                    {"name": "control", "share": 50},
                    {"name": "varied", "share": 50, "defaults": {"diversity": 0.3}},
                ],
            },
        }
    },
}


def operation_id(route: APIRoute) -> str:
    """What the document calls a route, and clients that are generated their function."""
    return route.name


def problems_of(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` argument of a route for these error statuses."""
    schema = {"$ref": _REFERENCE.format(model="ProblemDocument")}
    return {
        status: {"description": _MEANINGS[status], "content": {MEDIA_TYPE: {"schema": schema}}}
        for status in statuses
    }


def request_body(model: type[BaseModel]) -> dict[str, Any]:
    """The `openapi_extra` argument of a route that reads its body itself."""
    schema: dict[str, Any] = {"$ref": _REFERENCE.format(model=model.__name__)}
    if model is EventsRequest:
        schema = {"anyOf": [schema, {"$ref": _REFERENCE.format(model=Event.__name__)}]}
    content = {"schema": schema, "examples": EXAMPLES[model]}
    return {"requestBody": {"required": True, "content": {"application/json": content}}}


def openapi_document(app: FastAPI) -> dict[str, Any]:
    """The framework's document with the models of the bodies that routes read themselves."""
    if app.openapi_schema is None:
        document = get_openapi(
            title=app.title,
            version=app.version,
            description=app.description,
            routes=app.routes,
            # Parts of an answer that are absent unless requested are not required in it.
            separate_input_output_schemas=False,
        )
        _, definitions = models_json_schema(
            [(model, "validation") for model in _DOCUMENTED],
            ref_template=_REFERENCE,
        )
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        schemas.update(definitions.get("$defs", {}))
        for schema in schemas.values():
            _describe_defaults(schema)
        app.openapi_schema = document
    return app.openapi_schema


def _describe_defaults(schema: dict[str, Any]) -> None:
    """Write defaults into descriptions.

    Generators of clients take a field with a `default` for one that is always there, and make it
    required in what a caller sends.
    """
    for field in schema.get("properties", {}).values():
        default = field.pop("default", None)
        if default is not None:
            words = f"Default: {json.dumps(default)}."
            field["description"] = f"{field.get('description', '')} {words}".strip()
