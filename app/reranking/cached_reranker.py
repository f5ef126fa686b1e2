"""The reranker as requests see it: answers in time or not at all, and never fails.

An answer that comes too late for its request goes into the cache, for the next one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import monotonic

import numpy as np

from app.reranking.breaker import CircuitBreaker
from app.reranking.cache import AnswerCache, JobKey
from app.reranking.job import Answer, Job, Reranker, RerankError
from app.reranking.outcome import PENDING, SKIPPED, TIMED_OUT, Result
from app.reranking.pace import Pace
from app.reranking.policy import Limits
from app.store.deadline import Deadline
from app.telemetry.rerank_metrics import RerankMetrics
from model_store.texts import first_line

log = logging.getLogger(__name__)

# A job without an answer after this time has failed.
MAX_JOB_S = 15.0
# Jobs wait this long for a version that is being loaded, before their own time begins.
MAX_LOADING_S = 120.0
# Jobs that would wait for longer than this are not asked.
MAX_QUEUE_S = MAX_JOB_S / 2
MAX_USER_ID_CHARACTERS = 512


@dataclass(slots=True)
class _Flight:
    """A job in flight: asked once, whoever waits for it."""

    answer: asyncio.Future[Answer | None]
    asked_at_s: float = field(default_factory=monotonic)
    n_jobs: int = 1
    expected_s: float | None = None
    is_held: bool = True
    """It waits for its version to be loaded, and is not asked before."""

    def ends_by(self, deadline: Deadline) -> bool:
        """Whether it is expected to; one that is late is expected to take as long again."""
        if self.expected_s is None:
            return False
        now_s = monotonic()
        end_s = self.asked_at_s + self.expected_s
        if end_s < now_s:
            end_s = now_s + (now_s - self.asked_at_s)
        return end_s <= deadline.at_s


class CachedReranker:
    """Asks the reranker, within limits: of time, of jobs in flight, of failures in a row.

    Args:
        reranker: None where the service has none.
        cache: where answers are found and kept.
        metrics: of the reranker.
        max_wait_s: longest wait of a request.
        max_in_flight: limit on jobs that are asked and not answered.
        on_wait: called with 1 when a request begins to wait for an answer, with -1 at the end.
    """

    def __init__(
        self,
        reranker: Reranker | None,
        cache: AnswerCache,
        metrics: RerankMetrics,
        *,
        max_wait_s: float,
        max_in_flight: int,
        on_wait: Callable[[int], object] = lambda _: None,
    ) -> None:
        self.max_wait_s = max_wait_s
        self._reranker = reranker
        self._cache = cache
        self._metrics = metrics
        self._max_in_flight = max_in_flight
        self._on_wait = on_wait
        self._breaker = CircuitBreaker(metrics.breaker_open.set)
        self._pace = Pace()
        self._in_flight: dict[JobKey, _Flight] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def is_on(self) -> bool:
        """Whether the service has a reranker at all."""
        return self._reranker is not None

    @property
    def paused_reason(self) -> str | None:
        """Why it is left alone for a while; None if it isn't."""
        return self._breaker.reason

    async def rerank(self, jobs: Sequence[Job], limits: Sequence[Limits]) -> list[Result]:
        """The outcome for each job; all are there by the latest of the limits.

        Args:
            jobs: of one version, each with at least two candidates.
            limits: of each job.
        """
        keys = [JobKey.of(job) for job in jobs]
        results = await self._find(keys, [limit.cache for limit in limits])
        waiting: dict[int, _Flight] = {}
        for place, (key, job, limit) in enumerate(zip(keys, jobs, limits, strict=True)):
            if results[place] is not None:
                continue
            flight = self._in_flight.get(key) or self._ask(key, job)
            if flight is None:
                results[place] = SKIPPED
            elif flight.ends_by(limit.reranker):
                waiting[place] = flight
            else:
                results[place] = PENDING
        if waiting:
            limit_s = max(limits[place].reranker.remaining_s for place in waiting)
            self._on_wait(1)
            try:
                # Others may wait for the same answer, so it goes on where this request doesn't.
                await asyncio.wait({one.answer for one in waiting.values()}, timeout=limit_s)
            finally:
                self._on_wait(-1)
        for place, flight in waiting.items():
            results[place] = _outcome_of(flight)
        return [result or SKIPPED for result in results]

    async def close(self) -> None:
        """End all jobs in flight."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _find(
        self, keys: Sequence[JobKey], deadlines: Sequence[Deadline]
    ) -> list[Result | None]:
        """What the caches hold; the store is asked about all the others in one round trip.

        It is not about those in flight, whose answers are not there yet.
        """
        found = [self._cache.recall(key) for key in keys]
        unknown = [
            place
            for place, answer in enumerate(found)
            if answer is None and keys[place] not in self._in_flight
        ]
        if unknown:
            limit_s = max(deadlines[place].remaining_s for place in unknown)
            if limit_s > 0:
                stored = await self._cache.read([keys[place] for place in unknown], limit_s)
                for place, answer in zip(unknown, stored, strict=True):
                    found[place] = answer
        return [None if answer is None else Result("cached", answer) for answer in found]

    def _ask(self, key: JobKey, job: Job) -> _Flight | None:
        """Begin a job, unless it can't be answered now."""
        if self._reranker is None:
            return None
        flight = _Flight(asyncio.get_running_loop().create_future())
        if self._reranker.is_ready(job.version):
            if not self._let_through(flight):
                return None
        elif not self._reranker.is_loading(job.version) or self._is_full(is_held=True):
            return None
        self._in_flight[key] = flight
        self._metrics.in_flight.set(len(self._in_flight))
        task = asyncio.create_task(self._run(self._reranker, key, job, flight))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return flight

    def _is_full(self, *, is_held: bool) -> bool:
        """Those that wait for the load of a canary take no place of the active version's."""
        return self._count(is_held=is_held) >= self._max_in_flight

    def _count(self, *, is_held: bool) -> int:
        return sum(flight.is_held is is_held for flight in self._in_flight.values())

    def _let_through(self, flight: _Flight) -> bool:
        """Whether a job that is held may be asked now; then it has to be."""
        n_jobs = 1 + self._count(is_held=False)
        expected_s = self._pace.expect(n_jobs)
        is_late = expected_s is not None and n_jobs > 1 and expected_s > MAX_QUEUE_S
        if self._is_full(is_held=False) or is_late or not self._breaker.permits():
            return False
        flight.n_jobs, flight.expected_s = n_jobs, self._expected(expected_s)
        flight.asked_at_s, flight.is_held = monotonic(), False
        return True

    def _expected(self, expected_s: float | None) -> float | None:
        """The estimate, corrected by the oldest job asked: the next one won't be faster."""
        oldest = next((one for one in self._in_flight.values() if not one.is_held), None)
        if oldest is None or expected_s is None:
            return expected_s
        return max(expected_s, monotonic() - oldest.asked_at_s)

    async def _run(self, reranker: Reranker, key: JobKey, job: Job, flight: _Flight) -> None:
        """Ask, note what came of it, wake those who wait, and keep the answer."""
        answer: Answer | None = None
        try:
            # All that were held go on at once: no more are asked than of any other version.
            if not flight.is_held or (
                await _is_ready(reranker, job.version) and self._let_through(flight)
            ):
                flight.asked_at_s = monotonic()
                answer = await self._answer(reranker, job, flight)
        finally:
            del self._in_flight[key]
            self._metrics.in_flight.set(len(self._in_flight))
            flight.answer.set_result(answer)
        if answer is not None and await self._cache.write(key, self._cache.remember(key, answer)):
            self._metrics.cached.inc()

    async def _answer(self, reranker: Reranker, job: Job, flight: _Flight) -> Answer | None:
        try:
            async with asyncio.timeout(MAX_JOB_S):
                answer = checked_answer(await reranker.ask(job), len(job.candidates))
        except RerankError as error:
            self._breaker.failed(str(error))
        except TimeoutError:
            line = f"no answer in {MAX_JOB_S:.0f} s"
            self._breaker.hung(flight.asked_at_s, line)
        except Exception as error:
            # Whatever goes wrong there, requests are answered.
            log.exception("a job of the reranker failed")
            self._breaker.failed(f"{type(error).__name__}: {first_line(error)}")
        else:
            seconds = monotonic() - flight.asked_at_s
            self._pace.measured(seconds, flight.n_jobs)
            self._breaker.succeeded()
            self._metrics.seconds.observe(seconds)
            return answer
        self._metrics.failures.inc()
        return None


async def _is_ready(reranker: Reranker, version: str) -> bool:
    """Whether a version is ready, after the end of its first load if that is under way."""
    if reranker.is_loading(version):
        try:
            async with asyncio.timeout(MAX_LOADING_S):
                await reranker.loaded(version)
        except (RerankError, TimeoutError):
            return False  # the one who loads it logs the reason
    return reranker.is_ready(version)


def _outcome_of(flight: _Flight) -> Result:
    """The outcome for somebody who waited for it until now."""
    if not flight.answer.done():
        return TIMED_OUT
    answer = flight.answer.result()
    return SKIPPED if answer is None else Result("fresh", answer)


def checked_answer(answer: Answer, n_candidates: int) -> Answer:
    """The answer, if it is one.

    Raises:
        RerankError: it has not as many finite scores as there are candidates, or a user id that
            can't be one.
    """
    try:
        scores = np.asarray(answer.scores, dtype=np.float32)
        similar = answer.similar_user
        is_usable = scores.shape == (n_candidates,) and bool(np.isfinite(scores).all())
        if similar is not None:
            similar.encode()
            is_usable = is_usable and len(similar) <= MAX_USER_ID_CHARACTERS
    except (ValueError, TypeError, AttributeError, OverflowError) as error:
        raise RerankError(f"the reranker's answer is unusable: {error}") from error
    if not is_usable:
        raise RerankError(
            f"the reranker's answer is not {n_candidates} finite scores and a user id"
        )
    return Answer(scores, similar)
