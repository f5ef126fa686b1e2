"""What the service answers, as models that can't be changed.

A test holds them against the service's OpenAPI document. They ignore fields that they don't know,
and words such as `served_by` are plain texts: a service may be newer than its client.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Because(_Answer):
    """A past item and its contribution to the score."""

    item_id: str
    contribution: float
    title: str | None = None


class Reranked(_Answer):
    """The part of a language model in an item's rank."""

    outcome: str
    base_rank: int | None
    llm_rank: int | None
    weight: float
    similar_user: str | None


class MovedBy(_Answer):
    """A rule that moved an item."""

    name: str
    action: str
    factor: float | None = None
    rank: int | None = None
    skipped: int | None = None


class Explanation(_Answer):
    """Reasons for an item of the answer, where `explain` was asked for."""

    stage: str
    because: list[Because]
    remainder: float | None = None
    dislikes: float | None = None
    similarity: float | None = None
    share: float | None = None
    user_mean: float | None = None
    item_mean: float | None = None
    knowledge: str | None = None
    rerank: Reranked | None = None
    rules: list[MovedBy] | None = None


class RecommendedItem(_Answer):
    """One item of an answer; `fields` are the attributes that were asked for."""

    item_id: str
    rank: int
    score: float
    explanation: Explanation | None
    fields: dict[str, Any] | None = None


class Timings(_Answer):
    """Milliseconds by stage."""

    features: float
    inference: float
    rerank: float
    total: float


class Exploration(_Answer):
    """How the first ranks of an answer were drawn at random."""

    temperature: float
    n_candidates: int
    log_propensities: list[float]


class RecommendResponse(_Answer):
    """An answer to `recommend`; `degraded` names what it was made without."""

    request_id: str
    user_id: str | None
    model_version: str
    served_by: str
    rerank: str
    degraded: list[str]
    items: list[RecommendedItem]
    timings_ms: Timings
    arm: str | None = None
    exploration: Exploration | None = None


class PredictedRating(_Answer):
    """An item and the rating that the user would give it."""

    item_id: str
    rating: float


class RatingsResponse(_Answer):
    """An answer to `predict_ratings`, in the order of the request's items."""

    request_id: str
    user_id: str | None
    model_version: str
    served_by: str
    rerank: str
    degraded: list[str]
    ratings: list[PredictedRating]
    timings_ms: Timings
    arm: str | None = None


class WrongField(_Answer):
    """One error of a request."""

    field: str
    value: Any
    message: str


class ProblemDocument(_Answer):
    """An error as the service describes it (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    request_id: str
    errors: list[WrongField] | None = None


class BatchResponse(_Answer):
    """Answers in the order of the requests; a wrong request has its problem in its place."""

    responses: list[RecommendResponse | ProblemDocument]


class EventsResponse(_Answer):
    """Number of events that are durable now."""

    accepted: int
    unknown_items: int
    degraded: list[str]


class SimilarItem(_Answer):
    """An item similar to another; `score` is the cosine of their vectors."""

    item_id: str
    rank: int
    score: float
    fields: dict[str, Any] | None = None


class SimilarResponse(_Answer):
    """An answer to `similar_items`."""

    item_id: str
    model_version: str
    degraded: list[str]
    items: list[SimilarItem]


class Live(_Answer):
    """The process answers."""

    status: str


class Ready(_Answer):
    """A model is loaded and answers."""

    status: str
    version: str
    names: dict[str, str]
    execution_provider: str
    store: str
    store_reason: str | None
    items: int
    fresh_items: int
    rejected: dict[str, str]
    reranker: str
    reranker_reason: str | None


class PersonForgotten(_Answer):
    """What was removed of a person; all 0 where there was nothing any more."""

    user_id: str
    events: int
    histories: int
    answers: int
    counts: int
    events_to_archive: int
    exposures: int


class ItemsChanged(_Answer):
    """What became of changes of items."""

    items: int
    changed: int
