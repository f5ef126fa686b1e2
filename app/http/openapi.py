"""What the OpenAPI document says beyond what the framework finds out itself."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from app.http.problems import MEDIA_TYPE
from app.http.requests import BatchRequest, Event, EventsRequest, RecommendRequest
from app.http.responses import ProblemDocument

_REFERENCE = "#/components/schemas/{model}"
_DOCUMENTED: tuple[type[BaseModel], ...] = (
    RecommendRequest,
    BatchRequest,
    EventsRequest,
    Event,
    ProblemDocument,
)
_MEANINGS = {
    401: "The bearer token is missing or wrong.",
    403: "The admin endpoints are closed.",
    404: "There is no such thing.",
    409: "The registry doesn't allow it now.",
    413: "The body is too long.",
    415: "The body is compressed in a way that is not read.",
    422: "The caller got something wrong; `errors` names each field.",
    424: "The bundle failed a check; the running version stays.",
    429: "Too many requests at once; see `Retry-After`.",
    503: "Not ready; see `Retry-After`.",
}


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
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def openapi_document(app: FastAPI) -> dict[str, Any]:
    """The framework's document with the models of the bodies that routes read themselves."""
    if app.openapi_schema is None:
        document = get_openapi(
            title=app.title,
            version=app.version,
            description=app.description,
            routes=app.routes,
            # What is absent from an answer unless it was asked for is not required in it.
            separate_input_output_schemas=False,
        )
        _, definitions = models_json_schema(
            [(model, "validation") for model in _DOCUMENTED],
            ref_template=_REFERENCE,
        )
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        schemas.update(definitions.get("$defs", {}))
        app.openapi_schema = document
    return app.openapi_schema
