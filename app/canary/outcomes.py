"""Counts of what one version answered."""

from __future__ import annotations

import json
import math
from bisect import bisect_left
from dataclasses import dataclass, field, fields
from itertools import accumulate, pairwise
from typing import Any

from app.telemetry.metrics import BUCKETS_S
from model_store.errors import InputError, StoreError

MAX_EDGE_RATIO = 1.25


def _subdivide(edges_s: tuple[float, ...]) -> tuple[float, ...]:
    """The edges, with others between them so that none is more than MAX_EDGE_RATIO apart."""
    finer = [edges_s[0]]
    for lower, upper in pairwise(edges_s):
        n = math.ceil(math.log(upper / lower) / math.log(MAX_EDGE_RATIO))
        finer += [lower * (upper / lower) ** (i / n) for i in range(1, n)]
        finer.append(upper)
    return tuple(finer)


# Edges of the metrics' histogram are up to 2.5 times apart from 25 ms on: twice as slow would stay
# within one bucket there.
EDGES_S = _subdivide(BUCKETS_S)
"""Upper edges of the buckets of latencies; one bucket more holds what is slower than the last."""
N_BUCKETS = len(EDGES_S) + 1


@dataclass(slots=True)
class Outcomes:
    """Counts of one version's answers since some moment.

    Answers rejected by overload (429) and requests that were wrong (4xx) say nothing of a version
    and are not recorded.

    Attributes:
        answers: all answers, errors among them.
        errors: those with status 5xx. They are in no other count, and are not timed: a version that
            fails fast would look fast.
        empty: those without an item.
        short: those with fewer items than asked for although more were known to exist.
        degraded: those with something missing.
        popular: those whose items are ranked by popularity.
        latencies: [N_BUCKETS] answers by seconds, over EDGES_S.
        unready: those, errors aside, that were made while the version's reranker was being loaded.
            They are not timed, degraded or popular: they tell nothing of how it answers later.
    """

    answers: int = 0
    errors: int = 0
    empty: int = 0
    short: int = 0
    degraded: int = 0
    popular: int = 0
    latencies: list[int] = field(default_factory=lambda: [0] * N_BUCKETS)
    unready: int = 0

    def record(
        self,
        seconds: float,
        *,
        error: bool = False,
        empty: bool = False,
        short: bool = False,
        degraded: bool = False,
        popular: bool = False,
        ready: bool = True,
    ) -> None:
        """Count one answer. It is called for each answer, and takes about half a microsecond."""
        self.answers += 1
        if error:
            self.errors += 1
            return
        if ready:
            self.latencies[bisect_left(EDGES_S, seconds)] += 1
        else:
            self.unready += 1
        if empty:
            self.empty += 1
        if short:
            self.short += 1
        if degraded and ready:
            self.degraded += 1
        if popular and ready:
            self.popular += 1

    def __add__(self, other: Outcomes) -> Outcomes:
        return Outcomes(
            **{name: getattr(self, name) + getattr(other, name) for name in COUNTS},
            latencies=[a + b for a, b in zip(self.latencies, other.latencies, strict=True)],
        )

    def since(self, earlier: Outcomes) -> Outcomes:
        """What was counted after an earlier moment.

        Raises:
            InputError: a count is lower than it was then, so counting began anew in between.
        """
        for name in COUNTS:
            if getattr(self, name) < getattr(earlier, name):
                raise InputError(
                    f"{name} fell from {getattr(earlier, name)} to {getattr(self, name)}: counting"
                    " began anew"
                )
        latencies = [a - b for a, b in zip(self.latencies, earlier.latencies, strict=True)]
        if min(latencies) < 0:
            raise InputError("latencies fell: counting began anew")
        counts = {name: getattr(self, name) - getattr(earlier, name) for name in COUNTS}
        return Outcomes(**counts, latencies=latencies)

    @property
    def ready(self) -> int:
        """Answers but those that were made while the reranker was being loaded."""
        return self.answers - self.unready

    @property
    def timed(self) -> int:
        """Answers that were timed."""
        return sum(self.latencies)

    def slower(self) -> list[int]:
        """Answers slower than each of EDGES_S."""
        timed = self.timed
        return [timed - within for within in accumulate(self.latencies[:-1])]

    def quantile_s(self, share: float) -> float | None:
        """The seconds within which this share was answered; None before any answer was timed.

        Answers are taken as evenly spread within their bucket; those beyond the last edge count as
        having taken that long.
        """
        wanted = share * self.timed
        within = 0
        for i, n in enumerate(self.latencies[:-1]):
            if n and within + n >= wanted:
                lower = EDGES_S[i - 1] if i else 0.0
                return lower + (EDGES_S[i] - lower) * (wanted - within) / n
            within += n
        return EDGES_S[-1] if self.latencies[-1] else None

    def to_json(self) -> str:
        """One line of JSON, with the buckets that hold answers only."""
        filled = {str(i): n for i, n in enumerate(self.latencies) if n}
        counts = {name: getattr(self, name) for name in COUNTS}
        document = {**counts, "buckets": N_BUCKETS, "latencies": filled}
        return json.dumps(document, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str | bytes) -> Outcomes:
        """Read what `to_json` wrote.

        Raises:
            StoreError: it is damaged, or written over other buckets.
        """
        try:
            outcomes = cls._read(json.loads(text))
        # Damaged text may hold anything, in any nesting.
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise StoreError(f"counts of answers can't be read: {error}") from error
        if outcomes._contradict():
            raise StoreError("counts of answers can't be read: they contradict one another")
        return outcomes

    @classmethod
    def _read(cls, document: Any) -> Outcomes:
        # An earlier release's worker doesn't write them.
        document = {"unready": 0, "popular": 0} | document
        counts = {name: _count(document[name]) for name in COUNTS}
        if document["buckets"] != N_BUCKETS:
            raise ValueError(f"{document['buckets']} buckets, expected {N_BUCKETS}")
        latencies = [0] * N_BUCKETS
        for bucket, n in document["latencies"].items():
            if not 0 <= int(bucket) < N_BUCKETS:
                raise ValueError(f"bucket {bucket} of {N_BUCKETS}")
            latencies[int(bucket)] = _count(n)
        return cls(**counts, latencies=latencies)

    def _contradict(self) -> bool:
        right = self.answers - self.errors
        if right != self.timed + self.unready or max(self.empty, self.short) > right:
            return True
        return max(self.degraded, self.popular) > self.timed


COUNTS = tuple(each.name for each in fields(Outcomes) if each.name != "latencies")


def _count(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"{value!r} is no count")
    return value
