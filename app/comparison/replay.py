"""Asks two versions about the same users again."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Sequence, Set
from dataclasses import dataclass
from hashlib import blake2b

from app.comparison.background_answers import BackgroundAnswers
from app.model.background import yield_cpu
from app.model.filters import Rule
from app.model.model import Model
from app.reranking.outcome import Rerank
from model_store.answer_pairs import AnswerPair
from model_store.forgotten import digest_of_user
from model_store.item_filter import FilterValue
from model_store.rules import RequestBoost, RequestCap

USERS_AT_ONCE = 20
_PAUSE_AFTER = 5_000


@dataclass(frozen=True)
class UserQuery:
    """What a replayed user is asked: a plain request for k items."""

    user_id: str
    k: int
    history: Sequence[str] | None = None
    exclude: Sequence[str] | None = None
    candidates: Sequence[str] | None = None
    filters: dict[str, Rule] | None = None
    exclude_seen: bool = True
    exclude_served: None = None
    diversity: float = 0.0
    rerank: Rerank = "never"
    deadline_ms: int | None = None
    explain: bool = False
    interests: str | None = None
    fields: Sequence[str] | None = None
    boosts: Sequence[RequestBoost] | None = None
    caps: Sequence[RequestCap] | None = None
    context: dict[str, FilterValue] | None = None
    arm: str | None = None


def sample_users(
    a: Sequence[str], b: Collection[str], n: int, forgotten: Set[bytes] = frozenset()
) -> list[str]:
    """The n users in both lists that come first by a hash of their ids; all, if there are fewer.

    Always the same for the same lists, and a larger sample holds every smaller one.

    Args:
        a, b: user ids.
        n: limit.
        forgotten: users who are left out, by `forgotten.digest_of_user`.
    """
    known = set(b)
    hashed = []
    for place, user_id in enumerate(a):
        if user_id in known:
            digest = blake2b(user_id.encode("utf-8", "replace"), digest_size=8).digest()
            hashed.append((digest, user_id))
        if place % _PAUSE_AFTER == 0:
            yield_cpu()
    first = [user_id for _, user_id in heapq.nsmallest(n + len(forgotten), hashed)]
    if forgotten:
        first = [user_id for user_id in first if digest_of_user(user_id) not in forgotten]
    return first[:n]


async def replay(
    user_ids: Sequence[str],
    a: Model,
    b: Model,
    answers: BackgroundAnswers,
    k: int,
    on_progress: Callable[[int], object] = lambda _: None,
) -> list[AnswerPair]:
    """The answers of both versions, in the order of the users.

    Args:
        user_ids: the users, whose stored histories are read.
        a, b: the versions.
        answers: answers in the background.
        k: number of items.
        on_progress: called with how many users are done.

    Raises:
        StoreError: the histories can't be read.
    """
    pairs: list[AnswerPair] = []
    for start in range(0, len(user_ids), USERS_AT_ONCE):
        queries = [UserQuery(user_id, k) for user_id in user_ids[start : start + USERS_AT_ONCE]]
        # One after the other in small groups, so that a slow moment meets both.
        of_a, of_b = await answers.of(queries, a), await answers.of(queries, b)
        for query, one, other in zip(queries, of_a, of_b, strict=True):
            pair = AnswerPair(
                user_id=query.user_id,
                n_interactions=other.n_interactions,
                a=one.items,
                b=other.items,
                a_ms=round(one.ms, 3),
                b_ms=round(other.ms, 3),
            )
            pairs.append(pair)
        on_progress(len(pairs))
    return pairs
