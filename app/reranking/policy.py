"""Which requests are reranked, and how long one may wait for that."""

from __future__ import annotations

from app.reranking.outcome import Rerank
from app.store.deadline import Deadline
from app.store.history import History
from model_store.reranker import RerankerInfo

# What is left to do for an answer afterwards, seconds: choosing, writing and sending, for each
# answer of a batch, and explaining.
REST_S = 0.003
REST_OF_ANSWER_S = 0.0002
EXPLAINING_S = 0.015


def wants_rerank(rerank: Rerank, history: History, reranker: RerankerInfo) -> bool:
    """Whether a request for somebody with this history is to be reranked.

    auto: for tail users. Somebody whose history could not be read in full may be none.
    """
    if rerank == "auto":
        return history.is_complete and reranker.weighting.is_tail(len(history.items))
    return rerank == "always"


def due_by(
    deadline: Deadline | None, max_wait_s: float, n_answers: int, n_explained: int
) -> Deadline:
    """When a request goes on without the reranker.

    Args:
        deadline: the request's own.
        max_wait_s: longest wait from now on.
        n_answers, n_explained: what the request needs afterwards.
    """
    limit = Deadline.after_ms(max_wait_s * 1e3)
    if deadline is None:
        return limit
    rest_s = REST_S + REST_OF_ANSWER_S * n_answers + EXPLAINING_S * n_explained
    return Deadline(min(limit.at_s, deadline.at_s - rest_s))
