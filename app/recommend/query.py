"""A request as the pipeline sees it, independent of HTTP."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol, TypeAlias

from app.model.filters import Rule
from app.reranking.outcome import Rerank
from model_store.item_filter import FilterValue
from model_store.rules import RequestBoost, RequestCap

ServedBy: TypeAlias = Literal["model", "direct", "rating", "cold_start", "popular"]
"""The source of an answer's items."""


class Served(Protocol):
    """The last answers of a user: a number of them, or those of some minutes; one is given."""

    @property
    def answers(self) -> int | None:
        """The last so many."""

    @property
    def minutes(self) -> float | None:
        """Those of the last so many minutes."""


class Query(Protocol):
    """What should this person see next? One of user_id, history and interests is given."""

    @property
    def user_id(self) -> str | None:
        """The user whose stored history is used."""

    @property
    def history(self) -> Sequence[str] | None:
        """Item ids, oldest first, in place of the stored history."""

    @property
    def k(self) -> int:
        """Number of items; at least 1."""

    @property
    def exclude(self) -> Sequence[str] | None:
        """Item ids never to be returned."""

    @property
    def candidates(self) -> Sequence[str] | None:
        """Item ids to choose among; None means all."""

    @property
    def filters(self) -> Mapping[str, Rule] | None:
        """Rules by attribute name; all must hold."""

    @property
    def exclude_seen(self) -> bool | Sequence[str]:
        """Whether items of the history are left out; types: those with such interactions."""

    @property
    def exclude_served(self) -> Served | None:
        """The last answers of this user whose items are left out; None: of none."""

    @property
    def diversity(self) -> float:
        """0 is plain ranking, 1 considers only the difference between items."""

    @property
    def rerank(self) -> Rerank:
        """Whether a language model may rerank."""

    @property
    def deadline_ms(self) -> int | None:
        """Bounds waiting, in milliseconds from the request's arrival."""

    @property
    def explain(self) -> bool:
        """Whether each item comes with the reasons for it."""

    @property
    def interests(self) -> str | None:
        """Free text about a person, for one without a history."""

    @property
    def boosts(self) -> Sequence[RequestBoost] | None:
        """Items whose weight is another one for this request."""

    @property
    def caps(self) -> Sequence[RequestCap] | None:
        """Limits on items that share a value, for this request."""

    @property
    def context(self) -> Mapping[str, FilterValue] | None:
        """Properties of the request, for operators' rules."""

    @property
    def arm(self) -> str | None:
        """The arm of an experiment that it belongs to, for operators' rules."""

    @property
    def fields(self) -> Sequence[str] | None:
        """Item attributes to be returned with each item."""
