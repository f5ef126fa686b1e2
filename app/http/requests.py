"""Models of requests; limits are in the types, so that the OpenAPI document states them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BeforeValidator,
    Field,
    StringConstraints,
    WithJsonSchema,
    model_validator,
)

from model_store.codecs import MAX_RATING
from model_store.event_rules import INTERACTION, EventType
from model_store.experiment import Arms, Name, check_arms
from model_store.item_filter import Body, Filters, Identifier, Identifiers, Number, OneError
from model_store.keys import MAX_EVENTS_PER_USER
from model_store.rules import Context, RequestBoost, RequestCap
from model_store.served import MAX_ANSWERS, MAX_MINUTES

MAX_BODY_BYTES = 2 * 1024 * 1024
MAX_BATCH = 256
MAX_EVENTS = 1_000
MAX_RATED = 1_000
MAX_RULES_ASKED = 32
# Clocks differ by less than this; an event from further ahead would stay the newest for long.
MAX_AHEAD_S = 60

RequestId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._:/+=@-]{1,128}$")]

ExcludeSeen = Annotated[
    bool | Annotated[list[EventType], Field(min_length=1, max_length=64)],
    OneError(
        "exclude_seen",
        "Input should be a boolean, or a list of 1 to 64 types of event of 1 to 64 characters",
    ),
]


class ExcludeServed(Body):
    """The last answers of this user whose items are left out; one of the two is needed."""

    answers: int | None = Field(
        default=None, ge=1, le=MAX_ANSWERS, description="The last so many answers."
    )
    minutes: Annotated[float, Field(gt=0, le=MAX_MINUTES, allow_inf_nan=False)] | None = Field(
        default=None,
        description=f"Those of the last so many minutes; of these the last {MAX_ANSWERS}.",
    )

    @model_validator(mode="after")
    def _says_one(self) -> Self:
        if (self.answers is None) == (self.minutes is None):
            raise ValueError("exclude_served needs either answers or minutes")
        return self


ModelName = Annotated[
    Name | None,
    Field(
        default=None,
        description="The name under which the version that answers is active; an operator gave "
        "it. Null: `default`.",
    ),
]


class RecommendRequest(Body):
    """One of `user_id`, `history` and `interests` is needed; everything else is optional."""

    model: ModelName = None
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
    exclude_seen: ExcludeSeen = Field(
        default=True,
        description="Leave out the whole history; a list of types leaves out items with such "
        'events alone: with ["purchase"], what was viewed may come back. Events of the request\'s '
        "own `history` are of the type `interaction`.",
    )
    exclude_served: ExcludeServed | None = Field(
        default=None,
        description="Leave out what earlier answers to this user with `exclude_served` had; "
        "needs `user_id`.",
    )
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
    boosts: Annotated[list[RequestBoost], Field(max_length=MAX_RULES_ASKED)] | None = Field(
        default=None, description="Items whose weight is another one in this answer."
    )
    caps: Annotated[list[RequestCap], Field(max_length=MAX_RULES_ASKED)] | None = Field(
        default=None, description="Limits on items of this answer that share a value."
    )
    context: Context | None = Field(
        default=None,
        description="Properties of the request, such as `country`: some of the operators' rules "
        "hold only for certain ones.",
    )

    @model_validator(mode="after")
    def _says_for_whom(self) -> Self:
        if self.user_id is None and self.history is None and self.interests is None:
            raise ValueError("one of user_id, history, interests is needed")
        if self.exclude_served is not None and self.user_id is None:
            raise ValueError("exclude_served needs a user_id")
        return self

    @property
    def arm(self) -> str | None:
        """The arm of the experiment that it belongs to; set by `in_arm` and by no caller."""
        arm: str | None = self.__dict__.get("_arm")
        return arm

    def in_arm(self, name: str, defaults: Mapping[str, Any]) -> Self:
        """The same request in an arm of an experiment, with the arm's defaults."""
        unset = {field: defaults[field] for field in defaults.keys() - self.model_fields_set}
        return self.model_copy(update={**unset, "_arm": name})


class RatingsRequest(Body):
    """`item_ids` and one of `user_id` and `history` are needed."""

    model: ModelName = None
    user_id: Identifier | None = Field(default=None, description="The user who would rate.")
    history: Identifiers | None = Field(
        default=None,
        description="Item ids, oldest first, in place of those that the user is known to have "
        "rated.",
    )
    item_ids: Annotated[list[Identifier], Field(min_length=1, max_length=MAX_RATED)] = Field(
        description="The items to predict a rating of, in the order of the answer."
    )
    deadline_ms: int | None = Field(
        default=None, ge=1, le=10_000, description="Bounds waiting for the store."
    )

    @model_validator(mode="after")
    def _says_for_whom(self) -> Self:
        if self.user_id is None and self.history is None:
            raise ValueError("one of user_id, history is needed")
        return self


class BatchRequest(Body):
    """Several requests answered together: one store round trip, one inference."""

    requests: Annotated[
        list[RecommendRequest], Field(min_length=1, max_length=MAX_BATCH, fail_fast=True)
    ]


def _as_unix_s(value: object) -> object:
    """Unix seconds of a text with a time; all else as it is."""
    if not isinstance(value, str):
        return value
    try:
        time = datetime.fromisoformat(value)
    except ValueError:
        raise ValueError(
            "neither unix seconds nor an ISO 8601 time such as 2026-01-31T09:30:00Z"
        ) from None
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()


EventTime = Annotated[
    float,
    Field(ge=0, le=1e11, allow_inf_nan=False),
    BeforeValidator(_as_unix_s),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number", "minimum": 0, "maximum": 1e11},
                {"type": "string", "format": "date-time"},
            ]
        }
    ),
]


class Event(Body):
    """One interaction that happened; docs/events.md tells what each type means."""

    user_id: Identifier
    item_id: Identifier
    timestamp: EventTime | None = Field(
        default=None,
        description="Unix seconds, or an ISO 8601 time, which is UTC without an offset; the "
        "server's clock where absent, or where more than "
        f"{MAX_AHEAD_S} seconds ahead of it.",
    )
    rating: Annotated[float, Field(ge=-MAX_RATING, le=MAX_RATING, allow_inf_nan=False)] | None = (
        None
    )
    type: EventType = Field(
        default=INTERACTION,
        description="A free word, such as purchase, view or dislike; the version that answers "
        "decides by its rules which are positive, negative or context only.",
    )
    value: Annotated[float, Field(ge=-MAX_RATING, le=MAX_RATING, allow_inf_nan=False)] | None = (
        Field(default=None, description="A number that is kept with it, such as a price.")
    )
    event_id: Annotated[str, StringConstraints(min_length=1, max_length=128)] | None = Field(
        default=None,
        description="Your name of the event; a repeat counts once while the first report is among "
        f"the user's newest {MAX_EVENTS_PER_USER:,} events.",
    )
    request_id: RequestId | None = Field(
        default=None, description="Of the answer that it follows: a click, in an experiment."
    )
    rank: int | None = Field(
        default=None, ge=1, le=1_000, description="Rank of the item in that answer."
    )
    model: Name | None = Field(
        default=None,
        description="That the request of that answer gave: its experiment counts the click.",
    )


class EventsRequest(Body):
    """Interactions as they happen; a single event object is accepted in its place."""

    events: Annotated[list[Event], Field(min_length=1, max_length=MAX_EVENTS, fail_fast=True)]


AttributeText = Annotated[str, StringConstraints(max_length=10_000)]
AttributeTexts = Annotated[list[AttributeText], Field(max_length=1_000, fail_fast=True)]
AttributeValue = Annotated[
    bool | int | Number | AttributeText | AttributeTexts | None, Field(union_mode="left_to_right")
]


class ItemChange(Body):
    """What is new about an item."""

    item_id: Identifier
    available: bool | None = Field(
        default=None,
        description="false withdraws the item from all answers, true lets it come back; null "
        "leaves that as it is.",
    )
    attributes: Annotated[dict[Identifier, AttributeValue], Field(max_length=64)] = Field(
        default={},
        description="New values by name, each of its attribute's kind; null: it has none.",
    )


class ItemsRequest(Body):
    """Changes of items; all of them are kept, or none where one is wrong."""

    items: Annotated[list[ItemChange], Field(min_length=1, max_length=10_000, fail_fast=True)]


class ShadowRequest(Body):
    """The share of the requests that a version answers unseen."""

    share: Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)] = Field(
        description="In per cent; 0 ends the shadow."
    )


class CanaryRequest(Body):
    """The share of the users that a version answers."""

    percent: Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)] = Field(
        description="0 ends the canary."
    )


class ExperimentRequest(Body):
    """Arms of users that are answered by another version, or with other defaults."""

    name: Name | None = Field(default=None, description="Needed unless it stands in the path.")
    salt: Name | None = Field(
        default=None,
        description="Decides with a user's id which arm it is in; the name, if null. The salt of "
        "an earlier experiment gives the same users the same arms, if the shares are the same.",
    )
    arms: Arms = Field(description="The first one is the control.")

    @model_validator(mode="after")
    def _is_a_split(self) -> Self:
        check_arms(self.arms)
        return self
