"""Every call of the API as a value: what is sent, what is answered, whether it may be repeated."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar
from urllib.parse import quote

from pydantic import BaseModel

from longtail_client.answers import (
    BatchResponse,
    EventsResponse,
    ItemsChanged,
    Live,
    PersonForgotten,
    RatingsResponse,
    Ready,
    RecommendResponse,
    SimilarResponse,
)
from longtail_client.requests import (
    Event,
    Filter,
    ItemChange,
    RatingsRequest,
    RecommendRequest,
)

Answer = TypeVar("Answer", bound=BaseModel)


@dataclass(frozen=True)
class Call(Generic[Answer]):
    """One call.

    Attributes:
        method, path: of HTTP; the path is percent-encoded.
        answer: the model of its answer.
        body: as JSON; None sends none.
        parameters: of the URL.
        by: whose secret it is sent with.
        repeatable: whether to act twice is the same as once.
        is_probe: whether it asks how the service is now, and a failure is the answer.
    """

    method: Literal["GET", "POST", "PUT", "DELETE"]
    path: str
    answer: type[Answer]
    body: Any = None
    parameters: Mapping[str, str | int | Sequence[str]] = field(default_factory=dict)
    by: Literal["anybody", "caller", "operator"] = "caller"
    repeatable: bool = True
    is_probe: bool = False


def recommend(request: RecommendRequest) -> Call[RecommendResponse]:
    """`POST /recommend`."""
    return Call(
        "POST", "/recommend", RecommendResponse, request, repeatable=_leaves_nothing(request)
    )


def recommend_batch(requests: Sequence[RecommendRequest]) -> Call[BatchResponse]:
    """`POST /recommend/batch`."""
    return Call(
        "POST",
        "/recommend/batch",
        BatchResponse,
        {"requests": list(requests)},
        repeatable=all(map(_leaves_nothing, requests)),
    )


def predict_ratings(request: RatingsRequest) -> Call[RatingsResponse]:
    """`POST /ratings`."""
    return Call("POST", "/ratings", RatingsResponse, request)


def send_events(events: Sequence[Event]) -> Call[EventsResponse]:
    """`POST /events`; by its `event_id` the service knows an event that it has."""
    return Call(
        "POST",
        "/events",
        EventsResponse,
        {"events": list(events)},
        repeatable=all(event.get("event_id") for event in events),
    )


def similar_items(
    item_id: str,
    k: int | None,
    fields: Sequence[str] | None,
    filters: Mapping[str, Filter] | None,
) -> Call[SimilarResponse]:
    """`GET /items/{item_id}/similar`."""
    parameters: dict[str, str | int | Sequence[str]] = {}
    if k is not None:
        parameters["k"] = k
    if fields:
        parameters["fields"] = list(fields)
    if filters is not None:
        parameters["filters"] = json.dumps(filters, separators=(",", ":"))
    return Call(
        "GET", f"/items/{_segment(item_id)}/similar", SimilarResponse, parameters=parameters
    )


def change_items(items: Sequence[ItemChange]) -> Call[ItemsChanged]:
    """`PUT /admin/items`."""
    return Call("PUT", "/admin/items", ItemsChanged, {"items": list(items)}, by="operator")


def forget_user(user_id: str) -> Call[PersonForgotten]:
    """`DELETE /users/{user_id}`."""
    return Call("DELETE", f"/users/{_segment(user_id)}", PersonForgotten, by="operator")


def live() -> Call[Live]:
    """`GET /health/live`."""
    return Call("GET", "/health/live", Live, by="anybody", is_probe=True)


def ready() -> Call[Ready]:
    """`GET /health/ready`."""
    return Call("GET", "/health/ready", Ready, by="anybody", is_probe=True)


def _leaves_nothing(request: RecommendRequest) -> bool:
    """Whether the service keeps nothing of an answer, so that a lost one can be asked for anew."""
    return request.get("exclude_served") is None


def _segment(text: str) -> str:
    """A text as one segment of a path; dots too, as `..` would lead to another path."""
    return quote(text, safe="").replace(".", "%2E")
