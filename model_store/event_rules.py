"""What an interaction means: one rule for rows of files and for events of a service.

A recipe's `[events]` are these rules; the manifest carries them, so that a version reads events as
its training data were read.
"""

from __future__ import annotations

import struct
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

INTERACTION = "interaction"
"""The type of an event that names none, and of a row whose file has no column for it."""
DISLIKES = ("dislike", "disliked", "downvote", "not_interested", "thumbs_down")
"""Types that are negative unless a recipe decides otherwise."""
NEGATIVE, CONTEXT = -1.0, 0.0
"""What `EventRules.weigh` answers for events that are not positive."""
MAX_TYPES = 2**14

EventType = Annotated[str, StringConstraints(min_length=1, max_length=64)]
Weight = Annotated[float, Field(gt=0, le=1_000, allow_inf_nan=False)]
Threshold = Annotated[float, Field(ge=-1e9, le=1e9, allow_inf_nan=False)]


class EventRules(BaseModel):
    """Which interactions are positive and with which weight, negative, or context only.

    Positive ones are the history that the model sees, and what it is trained to predict. Negative
    ones exclude their item from answers. Context-only ones are stored and counted, no more.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    weights: dict[EventType, Weight] = Field(
        {},
        description="of positive types in the training loss, such as {purchase = 3.0}; 1 for all "
        "that are not named",
    )
    negative: tuple[EventType, ...] = Field(
        DISLIKES, description="types that are a dislike, whatever their rating"
    )
    context: tuple[EventType, ...] = Field(
        (), description="types that are stored and counted, but are no history"
    )
    positive_from: Threshold | None = Field(
        None,
        description="the lowest rating that is positive, such as 4; lower ones are context only, "
        "or negative. Unset: ratings make nothing context only",
    )
    negative_to: Threshold | None = Field(
        None,
        description="the highest rating that is a dislike, such as 2. Unset: ratings make nothing "
        "negative",
    )

    @model_validator(mode="after")
    def _no_type_has_two_meanings(self) -> Self:
        named = (("weights", self.weights), ("negative", self.negative), ("context", self.context))
        seen: dict[str, str] = {}
        for key, types in named:
            for name in types:
                if seen.setdefault(name, key) != key:
                    raise ValueError(f"type {name!r} stands in {seen[name]} and in {key}")
        low, high = self.negative_to, self.positive_from
        if low is not None and high is not None and low >= high:
            raise ValueError(f"negative_to {low:g} is not below positive_from {high:g}")
        return self

    def weigh(self, event_type: str, rating: float | None = None) -> float:
        """What an interaction is: its weight above 0 if positive, else NEGATIVE or CONTEXT.

        Its type decides first: a type of `negative` or `context` is that with any rating. Of all
        other types the rating decides, where there is one and a threshold for it.

        Args:
            event_type: as the file or the caller names it; INTERACTION where nobody does.
            rating: None or NaN where there is none. It is compared as float32, as it is stored.
        """
        if event_type in self.negative:
            return NEGATIVE
        if event_type in self.context:
            return CONTEXT
        if rating is not None and rating == rating:
            if self.negative_to is not None and _float32(rating) <= _float32(self.negative_to):
                return NEGATIVE
            if self.positive_from is not None and _float32(rating) < _float32(self.positive_from):
                return CONTEXT
        return self.weights.get(event_type, 1.0)


DEFAULT_RULES = EventRules()


class EventsInfo(BaseModel):
    """How a version reads events."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rules: EventRules = DEFAULT_RULES
    dislike_weight: float = Field(
        0.0,
        ge=0,
        le=10,
        allow_inf_nan=False,
        description="how far a user's vector moves away from disliked items, in its own lengths; "
        "chosen on validation, 0: not at all",
    )
    types: tuple[str, ...] = Field(
        (),
        max_length=MAX_TYPES,
        description="of the training data, as event_kinds.npy numbers them",
    )


DEFAULT_EVENTS = EventsInfo()


def _float32(number: float) -> float:
    return float(struct.unpack("<f", struct.pack("<f", number))[0])
