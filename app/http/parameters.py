"""Query parameters that no route reads are rejected by name: a filter there would be ignored."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query
from fastapi.routing import APIRoute
from starlette.requests import Request

from app.http.problems import Problem, shorten

UnderName = Annotated[
    str,
    Query(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$",
        description="The name that requests give as `model`; `default` answers those without.",
    ),
]
"""Of a route under /admin: the name whose deployment record it reads or changes."""

Seen = Annotated[
    int | None,
    Query(
        alias="generation",
        ge=0,
        description="Of the deployment record that the change was decided on; 409 where it has "
        "changed since.",
    ),
]
"""Of a route under /admin that changes a deployment record."""


async def reject_unknown_parameters(request: Request) -> None:
    """A dependency of routes.

    Raises:
        Problem: 422 that names the first parameter that the route doesn't know.
    """
    if not request.scope["query_string"]:
        return
    route: APIRoute = request.scope["route"]
    known = [field.alias for field in route.dependant.query_params]
    errors = [
        {
            "field": shorten(name),
            "value": shorten(value),
            "message": f"is no query parameter of {route.path_format}; "
            + (f"known are {', '.join(known)}" if known else "it has none"),
        }
        for name, value in request.query_params.multi_items()
        if name not in known
    ]
    if errors:
        first = errors[0]
        raise Problem(422, f"{first['field']}: {first['message']}", errors=errors)
