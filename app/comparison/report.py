"""The report of a comparison: how two versions' answers to the same requests differ."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydantic import BaseModel, Field

from app.comparison.items import Items, age_attribute
from app.comparison.measures import overlap, rank_biased_overlap, rank_correlation
from app.model.background import yield_cpu
from model_store.answer_pairs import AnswerPair

Source = Literal["replayed", "shadowed"]
SEGMENTS = ("all", "head", "tail", "new")
MAX_CHANGED = 10
_DIGITS = 6


class Both(BaseModel):
    """A figure of both versions; null where none of the items tells it."""

    a: float | None
    b: float | None
    shift: float | None = Field(description="b less a")


class Segment(BaseModel):
    """Figures of the answers to some users; means over answers, null where there are none."""

    answers: int
    identical: float | None = Field(description="Share of answers that are the same, in order.")
    overlap: float | None = Field(description="Share of items in common.")
    rank_correlation: float | None = Field(
        description="Spearman's, of the items in common; of answers with two of them or more."
    )
    rank_biased_overlap: float | None = Field(description="Common items, first ranks first; 0.9.")
    popularity_rank: Both = Field(
        description="Mean over recommended items, 1 for the most popular; both by the interactions "
        "that version a was trained on."
    )
    age: Both | None = Field(
        description="Mean of `age_attribute` over recommended items; null where there is none."
    )
    coverage: Both = Field(description="Share of the version's items that are recommended to any.")


class Latency(BaseModel):
    """Milliseconds for scoring and choosing one answer."""

    mean: float
    p50: float
    p99: float


class Changed(BaseModel):
    """A user with both answers; titles by item id, where items have one."""

    user_id: str
    n_interactions: int
    rank_biased_overlap: float
    a: list[str]
    b: list[str]


class Comparison(BaseModel):
    """How the answers of two versions to the same requests differ."""

    a: str
    b: str
    source: Source = Field(
        description="replayed: users were asked about again, now; shadowed: live requests that b "
        "answered as a's shadow."
    )
    answers: int
    tail_interactions: int = Field(
        description="The longest history of a tail user: as for a's reranker, else of the fifth "
        "of a's users with the shortest."
    )
    age_attribute: str | None
    segments: dict[str, Segment] = Field(
        description="By b's history: all; head and tail; new: no known item."
    )
    latency_ms: dict[str, Latency] | None = Field(
        description="By version, a and b; CPU time in the background, but for a shadow's a: as "
        "served, with waiting. Null without answers."
    )
    changed: list[Changed] = Field(description="By rank-biased overlap, lowest first.")
    titles: dict[str, str] = Field(description="Of the items of `changed`.")


@dataclass(frozen=True)
class Compared:
    """Two versions and their answers, to be reported.

    Attributes:
        items_a, items_b: of the versions.
        tail_interactions: the longest history of a tail user.
    """

    a: str
    b: str
    source: Source
    pairs: Sequence[AnswerPair]
    items_a: Items
    items_b: Items
    tail_interactions: int


@dataclass(frozen=True)
class _Measured:
    """A pair of answers with its measures."""

    pair: AnswerPair
    overlap: float
    rank_correlation: float | None
    rank_biased_overlap: float

    @classmethod
    def of(cls, pair: AnswerPair) -> _Measured:
        yield_cpu()
        a, b = pair.a, pair.b
        return cls(pair, overlap(a, b), rank_correlation(a, b), rank_biased_overlap(a, b))


def make_report(compared: Compared) -> Comparison:
    """The report; it depends on the answers alone, and not on their order."""
    age = age_attribute(compared.items_a, compared.items_b)
    measured = [_Measured.of(pair) for pair in compared.pairs]
    by_segment = {name: list[_Measured]() for name in SEGMENTS}
    for one in measured:
        by_segment[_segment_of(one.pair, compared.tail_interactions)].append(one)
    by_segment["all"] = measured
    changed = _by_change(measured)
    shown_a = [item_id for one in changed for item_id in one.a]
    shown_b = [item_id for one in changed for item_id in one.b]
    return Comparison(
        a=compared.a,
        b=compared.b,
        source=compared.source,
        answers=len(compared.pairs),
        tail_interactions=compared.tail_interactions,
        age_attribute=age,
        segments={name: _figures(by_segment[name], compared, age) for name in SEGMENTS},
        latency_ms={
            "a": _latency([pair.a_ms for pair in compared.pairs]),
            "b": _latency([pair.b_ms for pair in compared.pairs]),
        }
        if compared.pairs
        else None,
        changed=changed,
        titles={
            **compared.items_b.titles_of(shown_b),
            **compared.items_a.titles_of(shown_a),
        },
    )


def _segment_of(pair: AnswerPair, tail_interactions: int) -> str:
    if not pair.n_interactions:
        return "new"
    return "tail" if pair.n_interactions <= tail_interactions else "head"


def _figures(measured: Sequence[_Measured], compared: Compared, age: str | None) -> Segment:
    items_a, items_b = compared.items_a, compared.items_b
    pairs = [one.pair for one in measured]
    correlations = [one.rank_correlation for one in measured]
    ages: Both | None = None
    if age is not None:
        ages = _both(
            _of_each(pairs, lambda pair: items_a.ages_of(pair.a, age)),
            _of_each(pairs, lambda pair: items_b.ages_of(pair.b, age)),
        )
    return Segment(
        answers=len(pairs),
        identical=_mean([pair.a == pair.b for pair in pairs]),
        overlap=_mean([one.overlap for one in measured]),
        rank_correlation=_mean([one for one in correlations if one is not None]),
        rank_biased_overlap=_mean([one.rank_biased_overlap for one in measured]),
        popularity_rank=_both(
            _of_each(pairs, lambda pair: items_a.popularity_of(pair.a)),
            _of_each(pairs, lambda pair: items_a.popularity_of(pair.b)),
        ),
        age=ages,
        coverage=_of_both(
            _share_of(items_a, {item_id for pair in pairs for item_id in pair.a}),
            _share_of(items_b, {item_id for pair in pairs for item_id in pair.b}),
        ),
    )


def _of_each(
    pairs: Sequence[AnswerPair], values_of: Callable[[AnswerPair], Sequence[float]]
) -> list[float]:
    """The values of all pairs in one list."""
    values: list[float] = []
    for pair in pairs:
        values += values_of(pair)
        yield_cpu()
    return values


def _share_of(items: Items, recommended: set[str]) -> float:
    return len(recommended) / max(len(items.ids), 1)


def _by_change(measured: Sequence[_Measured]) -> list[Changed]:
    """Each user once, by the answer that differs most; equals by id."""
    rated = [
        (one.rank_biased_overlap, one.pair.user_id, one.pair)
        for one in measured
        if one.pair.user_id is not None and one.pair.a != one.pair.b
    ]
    rated.sort(key=lambda one: (one[0], one[1], one[2].a, one[2].b))
    by_user: dict[str, Changed] = {}
    for measure, user_id, pair in rated:
        if len(by_user) == MAX_CHANGED:
            break
        by_user.setdefault(
            user_id,
            Changed(
                user_id=user_id,
                n_interactions=pair.n_interactions,
                rank_biased_overlap=round(measure, _DIGITS),
                a=list(pair.a),
                b=list(pair.b),
            ),
        )
    return list(by_user.values())


def _both(a: Sequence[float], b: Sequence[float]) -> Both:
    return _of_both(_mean(a), _mean(b))


def _of_both(a: float | None, b: float | None) -> Both:
    if a is None or b is None:
        return Both(a=a, b=b, shift=None)
    return Both(a=round(a, _DIGITS), b=round(b, _DIGITS), shift=round(b - a, _DIGITS))


def _mean(values: Sequence[float]) -> float | None:
    """Summed exactly, so that it doesn't depend on the order."""
    return round(math.fsum(values) / len(values), _DIGITS) if values else None


def _latency(times_ms: Sequence[float]) -> Latency:
    p50, p99 = np.percentile(times_ms, [50, 99])
    return Latency(
        mean=round(math.fsum(times_ms) / len(times_ms), 3),
        p50=round(float(p50), 3),
        p99=round(float(p99), 3),
    )
