"""The contract's words for reranking."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from app.reranking.job import Answer

Rerank: TypeAlias = Literal["auto", "never", "always"]
"""Whether a language model may rerank; auto: for people with few interactions."""

RerankOutcome: TypeAlias = Literal["skipped", "fresh", "cached", "pending", "timed_out"]
"""The outcome of reranking.

skipped: not asked. fresh: answered in time. cached: answered before. pending: the answer is under
way and would come too late. timed_out: it was waited for, and came too late.
"""


@dataclass(frozen=True, slots=True)
class Result:
    """The outcome for one job; with an answer where it is `fresh` or `cached`."""

    outcome: RerankOutcome
    answer: Answer | None = None


SKIPPED, PENDING, TIMED_OUT = Result("skipped"), Result("pending"), Result("timed_out")
