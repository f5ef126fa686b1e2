"""Models of requests; limits are in the types, so that the OpenAPI document states them."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)

from model_store.codecs import MAX_RATING

MAX_BODY_BYTES = 2 * 1024 * 1024
MAX_BATCH = 256
MAX_FILTERS = 64
MAX_EVENTS = 1_000
# Clocks differ by less than this; an event from further ahead would stay the newest for long.
MAX_AHEAD_S = 60

Identifier = Annotated[str, StringConstraints(min_length=1, max_length=512)]
# Long lists end with their first wrong entry: to find and describe a million takes a second.
Identifiers = Annotated[list[Identifier], Field(max_length=10_000, fail_fast=True)]
FilterValues = Annotated[
    list[Annotated[str, StringConstraints(max_length=512)]],
    Field(min_length=1, max_length=1_000, fail_fast=True),
]
Number = Annotated[float, Field(allow_inf_nan=False)]


class Body(BaseModel):
    """Base of all request bodies: nothing is converted silently, unknown fields are rejected."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Filter(Body):
    """A rule on one attribute; all given parts must hold."""

    any: FilterValues | None = Field(default=None, description="Has at least one of these.")
    all: FilterValues | None = Field(default=None, description="Has every one of these.")
    none: FilterValues | None = Field(default=None, description="Has none of these.")
    gte: Number | None = Field(default=None, description="At least this number.")
    lte: Number | None = Field(default=None, description="At most this number.")

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if all(part is None for part in (self.any, self.all, self.none, self.gte, self.lte)):
            raise ValueError("a filter needs at least one of any, all, none, gte, lte")
        return self


def _few(filters: Any) -> Any:
    # The length of an object is checked after its values otherwise, which may be very many.
    if isinstance(filters, dict) and len(filters) > MAX_FILTERS:
        raise ValueError(f"there are {len(filters)} filters, more than {MAX_FILTERS}")
    return filters


Filters = Annotated[dict[str, Filter], Field(max_length=MAX_FILTERS), BeforeValidator(_few)]


class RecommendRequest(Body):
    """One of `user_id`, `history` and `interests` is needed; everything else is optional."""

    user_id: Identifier | None = Field(
        default=None, description="The user whose stored history is used."
    )
    history: Identifiers | None = Field(
        default=None,
        description="Item ids, oldest first; replaces the stored history for this request.",
    )
    k: int = Field(default=10, ge=1, le=1_000, description="How many items to return.")
    exclude: Identifiers | None = Field(default=None, description="Items never to return.")
    candidates: Identifiers | None = Field(
        default=None, description="Only these items may be returned; null means all."
    )
    filters: Filters | None = Field(
        default=None, description="Rules by attribute name; all must hold."
    )
    exclude_seen: bool = Field(default=True, description="Leave out the whole history.")
    diversity: float = Field(
        default=0.0,
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="0 is plain ranking; 1 considers only the difference between items.",
    )
    rerank: Literal["auto", "never", "always"] = Field(
        default="auto", description="Whether a language model may rerank (auto: tail users only)."
    )
    deadline_ms: int | None = Field(
        default=None, ge=1, le=10_000, description="Bounds waiting for the store and the reranker."
    )
    explain: bool = Field(default=False, description="Add reasons to each item.")
    interests: Annotated[str, StringConstraints(max_length=2_000)] | None = Field(
        default=None,
        description="Free text about a person; used where there is no usable history.",
    )
    fields: Annotated[list[Identifier], Field(max_length=64)] | None = Field(
        default=None,
        description="Item attributes to return with each item; `knowledge` is what a language "
        "model wrote about it, unless the catalogue has an attribute of that name.",
    )

    @model_validator(mode="after")
    def _says_for_whom(self) -> Self:
        if self.user_id is None and self.history is None and self.interests is None:
            raise ValueError("one of user_id, history, interests is needed")
        return self


class BatchRequest(Body):
    """Several requests answered together: one store round trip, one inference."""

    requests: Annotated[
        list[RecommendRequest], Field(min_length=1, max_length=MAX_BATCH, fail_fast=True)
    ]


class Event(Body):
    """One interaction that happened."""

    user_id: Identifier
    item_id: Identifier
    timestamp: Annotated[float, Field(ge=0, le=1e11, allow_inf_nan=False)] | None = Field(
        default=None,
        description="Unix seconds; the server's clock where absent, or where more than "
        f"{MAX_AHEAD_S} seconds ahead of it.",
    )
    rating: Annotated[float, Field(ge=-MAX_RATING, le=MAX_RATING, allow_inf_nan=False)] | None = (
        None
    )


class EventsRequest(Body):
    """Interactions as they happen; a single event object is accepted in its place."""

    events: Annotated[list[Event], Field(min_length=1, max_length=MAX_EVENTS, fail_fast=True)]
