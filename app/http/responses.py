"""Models of answers.

They declare the OpenAPI document; answers are written as plain JSON for speed, and a test validates
real answers against the document.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from app.recommend.query import ServedBy
from app.reranking.outcome import RerankOutcome
from model_store.deployment import AuditEntry, Canary, Shadow
from model_store.experiment import Experiment
from model_store.knowledge_texts import SHORT_CHARACTERS
from model_store.workers import WorkerState


class Because(BaseModel):
    """A past item and its contribution to the score."""

    item_id: str
    contribution: float = Field(
        description="Share of the score: what is lost without this item, and an equal part of what "
        "is due to no single item."
    )
    title: str | None = None


class Reranked(BaseModel):
    """The part of a language model in an item's rank."""

    outcome: RerankOutcome
    base_rank: int | None = Field(
        description="Its rank by the recommender; null for one that rules put into the answer."
    )
    llm_rank: int | None = Field(
        description="Its rank among the candidates by the language model; null for other items, "
        "and without an answer."
    )
    weight: float = Field(
        description="Of the language model's ranking, from 0 to 1; the recommender's has the rest."
    )
    similar_user: str | None = Field(description="The user whose history stood in the prompt.")


class MovedBy(BaseModel):
    """A rule that moved an item."""

    name: str = Field(description="Of the rule; `boosts[0]` or `caps[0]` is one of the request.")
    action: Literal["boost", "bury", "pin", "cap"]
    factor: float | None = Field(default=None, description="boost, bury: of the item's weight.")
    rank: int | None = Field(default=None, description="pin: the item's rank by the rule.")
    skipped: int | None = Field(
        default=None, description="cap: better items that it kept out before this one."
    )


class Explanation(BaseModel):
    """Reasons for an item of the answer."""

    stage: ServedBy
    because: list[Because] = Field(description="At most three past items, strongest first.")
    remainder: float | None = Field(
        default=None,
        description="model: the rest of the score; with the contributions it adds up to it.",
    )
    dislikes: float | None = Field(
        default=None,
        description="model: part of the score that disliked items took, with contributions and "
        "remainder it adds up to it; absent where none did.",
    )
    similarity: float | None = Field(default=None, description="cold_start: to the interests.")
    share: float | None = Field(default=None, description="popular: of all interactions.")
    user_mean: float | None = Field(
        default=None, description="rating: the user's mean rating, of an unknown one that of all."
    )
    item_mean: float | None = Field(default=None, description="rating: the item's mean rating.")
    knowledge: str | None = Field(
        default=None,
        description="The beginning of what a language model wrote about the item, at most "
        f"{SHORT_CHARACTERS} characters; absent where it wrote nothing.",
    )
    rerank: Reranked | None = Field(
        default=None, description="Absent from answers that were not to be reranked."
    )
    rules: list[MovedBy] | None = Field(
        default=None, description="Rules that moved the item; absent where none did."
    )


class RecommendedItem(BaseModel):
    """One item of an answer."""

    item_id: str
    rank: int
    score: float
    explanation: Explanation | None
    fields: dict[str, Any] | None = None


class Timings(BaseModel):
    """Milliseconds by stage."""

    features: float
    inference: float
    rerank: float
    total: float


class Exploration(BaseModel):
    """How the first ranks of an answer were drawn at random."""

    temperature: float = Field(description="What the scores were divided by.")
    n_candidates: int = Field(description="How many of the best items were drawn from, at most.")
    log_propensities: list[float] = Field(
        description="For each drawn rank the logarithm of the probability of its item, given the "
        "items above it. The later ranks follow by score."
    )


class RecommendResponse(BaseModel):
    """An answer to `POST /recommend`."""

    request_id: str
    user_id: str | None
    model_version: str
    served_by: ServedBy
    rerank: RerankOutcome
    degraded: list[str] = Field(description="Parts that were missing for the answer.")
    items: list[RecommendedItem]
    timings_ms: Timings
    arm: str | None = Field(
        default=None, description="The arm of the experiment; absent for users in none."
    )
    exploration: Exploration | None = Field(
        default=None, description="Absent from answers of which nothing was drawn at random."
    )


class PredictedRating(BaseModel):
    """An item of the request and the rating that the user would give it."""

    item_id: str
    rating: float = Field(description="Within the scale of the data.")


class RatingsResponse(BaseModel):
    """An answer to `POST /ratings`."""

    request_id: str
    user_id: str | None
    model_version: str
    served_by: ServedBy
    rerank: RerankOutcome
    degraded: list[str] = Field(
        description="Parts that were missing for the answer: `unknown_user`, answered with items' "
        "mean ratings; `unknown_item_ids:N`, with the user's mean rating; `features`."
    )
    ratings: list[PredictedRating] = Field(description="In the order of the request.")
    timings_ms: Timings
    arm: str | None = Field(
        default=None, description="The arm of the experiment; absent for users in none."
    )


class BatchResponse(BaseModel):
    """Answers in the order of the requests; a wrong request has its problem in its place."""

    responses: list[RecommendResponse | ProblemDocument]


class EventsResponse(BaseModel):
    """Number of events that are durable now."""

    accepted: int
    unknown_items: int = Field(description="Events about items the model doesn't know; kept.")
    degraded: list[str]


class SimilarItem(BaseModel):
    """An item similar to another."""

    item_id: str
    rank: int
    score: float = Field(description="Cosine of the item vectors.")
    fields: dict[str, Any] | None = None


class SimilarResponse(BaseModel):
    """An answer to `GET /items/{item_id}/similar`."""

    item_id: str
    model_version: str
    degraded: list[str] = Field(
        description="Conditions of the filters that no item meets, as in an answer of /recommend."
    )
    items: list[SimilarItem]


class Live(BaseModel):
    """The process answers."""

    status: Literal["live"]


class Ready(BaseModel):
    """A model is loaded and answers."""

    status: Literal["ready"]
    version: str
    names: dict[str, str] = Field(
        description="The active version of each name that requests may give as `model`."
    )
    execution_provider: str
    store: Literal["up", "empty", "read-only", "away"] = Field(
        description="empty: it lacks the version that answers; read-only: it takes no writes, "
        "and events wait in the journal."
    )
    store_reason: str | None = Field(description="Reason why the store is not up.")
    items: int
    fresh_items: int
    rejected: dict[str, str] = Field(description="Versions that failed to load, with the reason.")
    reranker: Literal["none", "off", "loading", "ready", "failed"] = Field(
        description="none: the version has none; off: the service runs without; failed: the "
        "version's can't be loaded."
    )
    reranker_reason: str | None = Field(
        description="Reason why the reranker is not asked, other than that it is being loaded."
    )


class ModelState(BaseModel):
    """A version in the registry."""

    version: str
    state: str
    active: bool = Field(description="Whether it answers requests that name no model.")
    names: list[str] = Field(description="Names under which it is active.")
    reranker: str | None = Field(
        description="State of its reranker, as in /health/ready; null unless it serves here."
    )
    metrics: dict[str, Any]
    memory_bytes: int | None = Field(
        description="About what each worker takes to hold it beside others; null where unknown."
    )


class Models(BaseModel):
    """All versions in the registry."""

    active: str | None
    models: list[ModelState]


class PersonForgotten(BaseModel):
    """What was removed of a person; all 0 where there was nothing any more."""

    user_id: str
    events: int = Field(description="Events that came in while services ran.")
    histories: int = Field(description="Histories of published versions.")
    answers: int = Field(
        description="Answers kept to compare versions, and cached ones that cite the person."
    )
    counts: int = Field(description="Figures in experiments; the sums over all users stay.")
    events_to_archive: int = Field(
        description="Events in the log; the archive follows when it is written next."
    )
    exposures: int = Field(description="Answers in the log of exposures; likewise.")


class ItemsChanged(BaseModel):
    """What became of changes of items."""

    items: int = Field(description="Items that the changes are about.")
    changed: int = Field(description="Items of which something new was said.")


class CanaryState(Canary):
    """A canary, and whether it is worse than the active version."""

    verdict: dict[str, Any] | None = Field(
        description="`word` (waiting, worse, fine), a `reason` for people, and its figures in "
        "`findings`; a canary that is worse is taken back."
    )


class ShadowSet(BaseModel):
    """The shadow from now on; at 0 there is none."""

    version: str
    share: float


class CanarySet(BaseModel):
    """The canary from now on; at 0 there is none."""

    version: str
    percent: float


class Deactivated(BaseModel):
    """A name that answers no more."""

    model: str
    previous: str = Field(description="The version that was active under it.")


class ActiveUnderName(BaseModel):
    """A name that requests may give as `model`."""

    model: str
    active: str | None
    generation: int


class DeploymentState(BaseModel):
    """Who answers requests of one name, and the live workers of all services on the store."""

    model: str = Field(description="The name.")
    names: list[ActiveUnderName] = Field(description="All names, the default first.")
    generation: int = Field(description="Changes of the record so far.")
    active: str | None
    previous: list[str] = Field(description="Versions that were active before, newest first.")
    canary: CanaryState | None
    shadow: Shadow | None
    experiments: list[Experiment] = Field(
        description="The one that runs, and those that ended in the last 30 days; newest first."
    )
    workers: list[WorkerState] = Field(
        description="`version` and `generation` are those under the name."
    )
    audit: list[AuditEntry] = Field(description="Changes, newest first.")


class PastItem(BaseModel):
    """An item of a history."""

    item_id: str
    title: str | None


class HistoryOfUser(BaseModel):
    """What is known of a user, in the active version's items."""

    user_id: str
    model_version: str
    n_items: int = Field(description="Items in the whole history.")
    n_unknown: int = Field(description="Events about items that the version doesn't know.")
    is_complete: bool = Field(description="False where the store could not be read.")
    items: list[PastItem] = Field(description="Newest first.")


class FoundItem(BaseModel):
    """An item of the catalogue."""

    item_id: str
    title: str | None
    fields: dict[str, Any] = Field(
        description="All its attributes, and `knowledge`: what a language model wrote about it."
    )


class FoundItems(BaseModel):
    """Items that match a search."""

    model_version: str
    n_matches: int = Field(description="All items that match.")
    items: list[FoundItem]


class Experiments(BaseModel):
    """The experiment that runs and those that ended lately, newest first."""

    experiments: list[Experiment]


class WrongField(BaseModel):
    """One error of a request."""

    field: str
    value: Any
    message: str


class ProblemDocument(BaseModel):
    """RFC 9457."""

    type: str
    title: str
    status: int
    detail: str
    request_id: str
    errors: list[WrongField] | None = None
