"""Asks the reranker about users before they come, so that their first request finds the answer.

A job is computed by the steps that answer a request, up to reranking: it is the very job that the
user's next request would ask, as long as no event changes the history.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from time import monotonic

from app.model.model import Model
from app.recommend.features import add_features
from app.recommend.plan import Plan, make_plans
from app.recommend.query import Query
from app.recommend.reranking import make_job
from app.recommend.scoring import score
from app.reranking.cache import AnswerCache, JobKey
from app.reranking.cached_reranker import checked_answer
from app.reranking.job import Answer, Job, Reranker, RerankError
from app.reranking.policy import wants_rerank
from app.store.store import BACKGROUND_TIMEOUT_S, Store
from model_store.errors import StoreError
from model_store.reranker import RerankerInfo

# Users of one round trip. While their jobs are asked, histories may change.
USERS_AT_ONCE = 50
# A job without an answer after this time has failed; at the lowest priority it may take long.
MAX_JOB_S = 600.0
# So many failures in a row end the run.
MAX_FAILURES = 20
READY_INTERVAL_S = 0.05


@dataclass
class Tally:
    """What became of users.

    asked: their answers are new in the cache. cached: their answers were there, or another user's
    job is the same. without_job: there is nothing to rank for them. failed: the reranker gave no
    answer. reason: of the first failure.
    """

    asked: int = 0
    cached: int = 0
    without_job: int = 0
    failed: int = 0
    reason: str | None = None

    @property
    def skipped(self) -> int:
        """Users that the reranker was not asked about."""
        return self.cached + self.without_job


class Precompute:
    """Fills the cache with answers for users.

    Args:
        model: the version, with its fresh items.
        reranker: that has the version loaded, or is loading it.
        store: of the histories.
        cache: that is filled.
        make_query: the request of a user.
        max_in_flight: limit on jobs that are asked and not answered.
    """

    def __init__(
        self,
        model: Model,
        reranker: Reranker,
        store: Store,
        cache: AnswerCache,
        make_query: Callable[[str], Query],
        *,
        max_in_flight: int,
    ) -> None:
        if model.reranker is None:
            raise RerankError(f"version {model.version} has no reranker")
        self.tally = Tally()
        self._model, self._info = model, model.reranker
        self._reranker, self._store, self._cache = reranker, store, cache
        self._make_query = make_query
        self._slots = asyncio.Semaphore(max_in_flight)
        self._n_failures = 0

    async def choose(
        self, user_ids: Sequence[str], on_read: Callable[[int], object] = lambda _: None
    ) -> list[str]:
        """Those whose answers would be reranked, the fewest interactions first.

        The fewer there are, the more the reranker's word counts.

        Args:
            user_ids: the users.
            on_read: called with how many histories were read so far.

        Raises:
            StoreError: the store can't be read.
        """
        found: list[tuple[int, str]] = []
        for start in range(0, len(user_ids), USERS_AT_ONCE):
            some = user_ids[start : start + USERS_AT_ONCE]
            for user_id, plan in zip(some, await self._plan(some), strict=True):
                if _is_wanted(plan, self._info):
                    found.append((len(plan.history.items), user_id))
            on_read(start + len(some))
        found.sort(key=itemgetter(0))
        return [user_id for _, user_id in found]

    async def fill(
        self,
        user_ids: Sequence[str],
        limit: int | None = None,
        on_change: Callable[[Tally], object] = lambda _: None,
    ) -> Tally:
        """Have the answers for users in the cache; those that are there are not asked again.

        Args:
            user_ids: the users.
            limit: of the jobs that are asked.
            on_change: called with the tally whenever it has changed.

        Returns:
            what became of them.

        Raises:
            StoreError: the store can't be read, or keeps no answers.
            RerankError: the reranker fails for all users.
        """
        try:
            async with asyncio.TaskGroup() as group:
                await self._ask_all(user_ids, limit, group, on_change)
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None
        return self.tally

    async def _ask_all(
        self,
        user_ids: Sequence[str],
        limit: int | None,
        group: asyncio.TaskGroup,
        on_change: Callable[[Tally], object],
    ) -> None:
        n_asked = 0
        for start in range(0, len(user_ids), USERS_AT_ONCE):
            jobs = await self._jobs_of(user_ids[start : start + USERS_AT_ONCE])
            for key, job in jobs.items():
                if limit is not None and n_asked >= limit:
                    return
                n_asked += 1
                await self._slots.acquire()
                group.create_task(self._ask(key, job, on_change))
            on_change(self.tally)

    async def _plan(self, user_ids: Sequence[str]) -> list[Plan]:
        queries = [self._make_query(user_id) for user_id in user_ids]
        plans = make_plans(queries, self._model, monotonic())
        await add_features(plans, self._model, self._store.features)
        if self._store.state.word in ("away", "empty"):
            raise StoreError(self._store.state.reason or "the store can't be read")
        return plans

    async def _jobs_of(self, user_ids: Sequence[str]) -> dict[JobKey, Job]:
        """Jobs whose answers are not in the cache."""
        jobs: list[Job] = []
        for plan in await self._plan(user_ids):
            job = self._job_of(plan)
            if job is None:
                self.tally.without_job += 1
            else:
                jobs.append(job)
        if not jobs:
            return {}
        keys = [JobKey.of(job) for job in jobs]
        answers = await self._cache.read(keys, BACKGROUND_TIMEOUT_S)
        # By key, as users with equal jobs share an answer.
        missing = {
            key: job for key, job, answer in zip(keys, jobs, answers, strict=True) if answer is None
        }
        self.tally.cached += len(jobs) - len(missing)
        return missing

    def _job_of(self, plan: Plan) -> Job | None:
        """The job of a request, computed alone: in a batch, last bits of scores differ."""
        if not _is_wanted(plan, self._info):
            return None
        [ranking] = score([plan], self._model)
        return make_job(ranking, self._model)[1] if ranking.n_candidates else None

    async def _ask(self, key: JobKey, job: Job, on_change: Callable[[Tally], object]) -> None:
        try:
            answer = await self._answer(job)
        except RerankError as error:
            self._note_failure(str(error))
        else:
            self._n_failures = 0
            if not await self._cache.write(key, self._cache.remember(key, answer)):
                raise StoreError(await self._why_not_kept())
            self.tally.asked += 1
        finally:
            self._slots.release()
        on_change(self.tally)

    async def _answer(self, job: Job) -> Answer:
        """The answer; asked once more where the process ended meanwhile, as it is replaced.

        Raises:
            RerankError: there is none.
        """
        for is_last in (False, True):
            try:
                async with asyncio.timeout(MAX_JOB_S):
                    while not self._reranker.is_ready(job.version):
                        await asyncio.sleep(READY_INTERVAL_S)
                    return checked_answer(await self._reranker.ask(job), len(job.candidates))
            except TimeoutError:
                raise RerankError(f"no answer in {MAX_JOB_S:.0f} s") from None
            except RerankError:
                if is_last or self._reranker.is_ready(job.version):
                    raise
        raise AssertionError  # the last iteration returns or raises

    def _note_failure(self, reason: str) -> None:
        self.tally.failed += 1
        self.tally.reason = self.tally.reason or reason
        self._n_failures += 1
        if self._n_failures >= MAX_FAILURES:
            raise RerankError(f"{MAX_FAILURES} jobs in a row failed, the last one with: {reason}")

    async def _why_not_kept(self) -> str:
        await self._store.check(self._model.version)
        return self._store.state.reason or "the store did not keep an answer; see the log"


def _is_wanted(plan: Plan, reranker: RerankerInfo) -> bool:
    """Whether the request is to be reranked, of a user whose history could be read in full."""
    history = plan.history
    is_usable = history.is_complete and len(history.items) > 0
    return is_usable and wants_rerank(plan.query.rerank, history, reranker)
