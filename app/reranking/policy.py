"""Which requests are reranked, and how long one may wait for that."""

from __future__ import annotations

from dataclasses import dataclass

from app.reranking.outcome import Rerank
from app.store.deadline import Deadline
from model_store.history import History
from model_store.reranker import RerankerInfo

# What is left to do for an answer afterwards, seconds: choosing, writing and sending, for each
# answer of a batch, and explaining.
REST_S = 0.003
REST_OF_ANSWER_S = 0.0002
EXPLAINING_S = 0.015
# The look-up in the store's cache may take this long where a request waits for less.
LOOK_UP_S = 0.005


def wants_rerank(rerank: Rerank, history: History, reranker: RerankerInfo) -> bool:
    """Whether a request for somebody with this history is to be reranked.

    auto: for tail users. Somebody whose history could not be read in full may be none.
    """
    if rerank == "auto":
        return history.is_complete and reranker.weighting.is_tail(len(history.items))
    return rerank == "always"


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a request waits: for the cache, and for the reranker."""

    cache: Deadline
    reranker: Deadline


def limits_of(
    deadline: Deadline | None, max_wait_s: float, n_answers: int, n_explained: int
) -> Limits:
    """When a request goes on without the cache, and without the reranker.

    Args:
        deadline: the request's own.
        max_wait_s: longest wait for the reranker from now on.
        n_answers, n_explained: what the request needs afterwards.
    """
    rest_s = REST_S + REST_OF_ANSWER_S * n_answers + EXPLAINING_S * n_explained

    def within(limit_s: float) -> Deadline:
        limit = Deadline.after_ms(limit_s * 1e3)
        return limit if deadline is None else Deadline(min(limit.at_s, deadline.at_s - rest_s))

    return Limits(within(max(max_wait_s, LOOK_UP_S)), within(max_wait_s))
