"""Answers of the reranker: those this process saw last in memory, all of them in the store."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from app.reranking.job import Answer, Job
from app.store.rerank_cache import RerankCache
from model_store.rerank_codec import CachedAnswer, digest_of

# In memory; of some 200 bytes each.
MAX_REMEMBERED = 10_000


@dataclass(frozen=True, slots=True)
class JobKey:
    """Equal for jobs whose answers are equal: the same version, history and candidates."""

    version: str
    digest: bytes
    n_candidates: int

    @classmethod
    def of(cls, job: Job) -> JobKey:
        """The key of a job."""
        digest = digest_of(job.version, job.history, job.candidates)
        return cls(job.version, digest, len(job.candidates))


class AnswerCache:
    """Answers by key; one that is too old, or doesn't fit its job, is not there.

    Args:
        store: shared by all workers.
        max_entries: limit on the store's answers of one version.
        max_age_s: limit on the age of an answer.
    """

    def __init__(self, store: RerankCache, *, max_entries: int, max_age_s: int) -> None:
        self._store = store
        self._max_entries = max_entries
        self._max_age_s = max_age_s
        self._remembered: OrderedDict[JobKey, CachedAnswer] = OrderedDict()

    def recall(self, key: JobKey) -> Answer | None:
        """The answer from memory."""
        found = self._remembered.get(key)
        if found is None:
            return None
        if not self._fits(key, found):
            del self._remembered[key]
            return None
        self._remembered.move_to_end(key)
        return Answer(found.scores, found.similar_user)

    async def read(self, keys: Sequence[JobKey], limit_s: float) -> list[Answer | None]:
        """Answers from the store within a time; all keys are of one version."""
        digests = [key.digest for key in keys]
        answers: list[Answer | None] = []
        found = await self._store.read(keys[0].version, digests, limit_s)
        for key, one in zip(keys, found, strict=True):
            if one is None or not self._fits(key, one):
                answers.append(None)
            else:
                self._remember(key, one)
                answers.append(Answer(one.scores, one.similar_user))
        return answers

    def remember(self, key: JobKey, answer: Answer) -> CachedAnswer:
        """Keep an answer that was just given in memory; returns it as `write` takes it."""
        cached = CachedAnswer(answer.scores, answer.similar_user, int(time.time()))
        self._remember(key, cached)
        return cached

    async def write(self, key: JobKey, answer: CachedAnswer) -> bool:
        """Keep an answer in the store; whether that worked."""
        return await self._store.write(
            key.version,
            key.digest,
            answer,
            max_age_s=self._max_age_s,
            max_entries=self._max_entries,
        )

    @property
    def user_ids(self) -> set[str]:
        """Users who are cited by an answer in memory."""
        cited = (answer.similar_user for answer in self._remembered.values())
        return {user_id for user_id in cited if user_id is not None}

    def drop(self, user_ids: Collection[str]) -> None:
        """Forget the answers in memory that cite users."""
        for key, answer in list(self._remembered.items()):
            if answer.similar_user in user_ids:
                del self._remembered[key]

    def _remember(self, key: JobKey, answer: CachedAnswer) -> None:
        self._remembered[key] = answer
        self._remembered.move_to_end(key)
        if len(self._remembered) > min(MAX_REMEMBERED, self._max_entries):
            self._remembered.popitem(last=False)

    def _fits(self, key: JobKey, answer: CachedAnswer) -> bool:
        # A time far ahead is as useless as an old one: such an answer would never go.
        age_s = abs(time.time() - answer.written_s)
        return len(answer.scores) == key.n_candidates and age_s <= self._max_age_s
