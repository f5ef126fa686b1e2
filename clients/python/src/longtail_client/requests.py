"""What callers send: typed dictionaries, so that a type checker knows every field.

The service checks values and limits, and names the wrong field; `GET /docs` describes each one. A
test holds names and types against the service's OpenAPI document.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, Required, TypedDict

FilterValue = str | bool | float


class Filter(TypedDict, total=False):
    """Conditions on one attribute of the items; all of them must hold."""

    any: Sequence[FilterValue] | None
    all: Sequence[FilterValue] | None
    none: Sequence[FilterValue] | None
    gte: float | None
    lte: float | None


class ExcludeServed(TypedDict, total=False):
    """The last answers of this user whose items are left out: a number of them, or minutes."""

    answers: int | None
    minutes: float | None


class RequestBoost(TypedDict, total=False):
    """Items that weigh more in this answer, or less."""

    filters: Mapping[str, Filter] | None
    item_ids: Sequence[str] | None
    name: str | None
    action: Literal["boost", "bury"]
    factor: Required[float]


class RequestCap(TypedDict, total=False):
    """A limit on items of this answer that share a value of an attribute."""

    name: str | None
    action: Literal["cap"]
    attribute: Required[str]
    at_most: Required[int]


class RecommendRequest(TypedDict, total=False):
    """One of `user_id`, `history` (item ids, oldest first) and `interests` is needed."""

    model: str | None
    user_id: str | None
    history: Sequence[str] | None
    k: int
    exclude: Sequence[str] | None
    candidates: Sequence[str] | None
    filters: Mapping[str, Filter] | None
    exclude_seen: bool | Sequence[str]
    exclude_served: ExcludeServed | None
    diversity: float
    rerank: Literal["auto", "never", "always"]
    deadline_ms: int | None
    explain: bool
    interests: str | None
    fields: Sequence[str] | None
    boosts: Sequence[RequestBoost] | None
    caps: Sequence[RequestCap] | None
    context: Mapping[str, FilterValue] | None


class RatingsRequest(TypedDict, total=False):
    """`item_ids` and one of `user_id` and `history` are needed."""

    model: str | None
    user_id: str | None
    history: Sequence[str] | None
    item_ids: Required[Sequence[str]]
    deadline_ms: int | None


class Event(TypedDict, total=False):
    """One interaction that happened; `timestamp` is in unix seconds or ISO 8601."""

    user_id: Required[str]
    item_id: Required[str]
    timestamp: float | str | None
    rating: float | None
    type: str
    value: float | None
    event_id: str | None
    request_id: str | None
    rank: int | None
    model: str | None


class ItemChange(TypedDict, total=False):
    """What is new about an item; a null attribute is taken away."""

    item_id: Required[str]
    available: bool | None
    attributes: Mapping[str, bool | int | float | str | Sequence[str] | None]
