"""Watches a canary: counts its answers and the active version's; takes it back if it is worse."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from time import monotonic, perf_counter
from typing import Any, Protocol

from app.canary.bounds import Bounds
from app.canary.counts import Counts, total
from app.canary.outcomes import Outcomes
from app.canary.verdict import Verdict, judge
from app.deployment.models import Models
from app.deployment.routing import Routing, Trial
from app.model.model import Model
from app.store.outcome_store import OutcomeStore
from model_store.errors import InvalidField, RegistryError, StoreError

log = logging.getLogger(__name__)

LOOK_S = 1.0
# From the beginning of a canary: after it, what it lacks is its own fault. Jobs wait as long.
MAX_LOADING_S = 120.0
POPULAR = "popular"
"""In `served_by`, of answers by popularity."""
Answer = dict[str, Any]


class Asked(Protocol):
    """What a request asks for, as far as it tells whether an answer is short."""

    @property
    def k(self) -> int:
        """Number of items."""

    @property
    def candidates(self) -> Sequence[str] | None:
        """Item ids to choose among; None means all."""

    @property
    def filters(self) -> Mapping[str, Any] | None:
        """Rules that all items must meet."""


class CanaryWatch:
    """Counts on the request path while there is a canary, and judges in the background.

    Every worker judges the counts of all workers. Whoever finds first that the canary is worse
    changes the deployment record, which all follow.

    Args:
        models: of this worker.
        store: of the counts.
        take_back: ends a canary by the name it is tried under and its epoch, with the reason.
        worker_id: of this worker.
        on_taken_back: called when this worker took a canary back.
        is_reranker_loading: whether the reranker of a version isn't there yet, but will be.
    """

    def __init__(
        self,
        models: Models,
        store: OutcomeStore,
        take_back: Callable[[str, str, str], Awaitable[object]],
        worker_id: str,
        on_taken_back: Callable[[], object],
        is_reranker_loading: Callable[[Model], bool],
    ) -> None:
        self._models = models
        self._store = store
        self._take_back = take_back
        self._worker_id = worker_id
        self._on_taken_back = on_taken_back
        self._is_reranker_loading = is_reranker_loading
        self._bounds = Bounds()
        self._counts: dict[str, Counts] = {}  # by epoch
        self._since_s: dict[str, float] = {}  # the same, on the monotonic clock
        self._unreadable: set[bytes] = set()

    async def observe(
        self,
        routing: Routing,
        model: Model,
        query: Asked,
        answering: Awaitable[Sequence[Answer]],
    ) -> Sequence[Answer]:
        """Await the answer to one request, and count its outcome for the version that makes it."""
        outcomes, started = self._outcomes_of(routing, model), perf_counter()
        ready = not self._is_loading(routing, model)
        try:
            answers = await answering
        except InvalidField:
            raise  # the caller's fault
        except Exception:
            outcomes.record(perf_counter() - started, error=True)
            raise
        [answer] = answers
        n_items = len(answer["items"])
        outcomes.record(
            perf_counter() - started,
            empty=n_items == 0,
            short=0 < n_items < query.k and query.candidates is None and not query.filters,
            degraded=bool(answer["degraded"]),
            popular=answer["served_by"] == POPULAR,
            ready=ready,
        )
        return answers

    def _is_loading(self, routing: Routing, model: Model) -> bool:
        """Whether a version lacks its reranker through no fault of its own.

        It begins to load when the canary begins, which may take a minute. One that ends the
        reranker's process is being loaded again and again.
        """
        since_s = self._since_s.get(routing.trial.epoch) if routing.trial else None
        if since_s is None or monotonic() - since_s > MAX_LOADING_S:
            return False
        return self._is_reranker_loading(model)

    async def observe_rating(
        self, routing: Routing, model: Model, answering: Awaitable[Answer]
    ) -> Answer:
        """The same for `POST /ratings`, whose answers are never short.

        A canary that predicts none, where the active version does, has failed.
        """
        outcomes, started = self._outcomes_of(routing, model), perf_counter()
        try:
            answer = await answering
        except Exception:
            outcomes.record(perf_counter() - started, error=True)
            raise
        outcomes.record(perf_counter() - started, degraded=bool(answer["degraded"]))
        return answer

    def _outcomes_of(self, routing: Routing, model: Model) -> Outcomes:
        """Where to count an answer.

        A worker that lacks the active version goes on with an earlier one: what that answers tells
        nothing of the active one, and counts nowhere.
        """
        if routing.trial is None or routing.period is None:
            return Outcomes()
        counts = self._counts_of(routing.trial.epoch)
        return counts.active if model is routing.active else counts.canary

    async def look(self) -> None:
        """Share this worker's counts, and take a canary back if those of all show it worse.

        Raises:
            StoreError: the store can't be read or written.
        """
        trials = {name: one.trial for name, one in self._models.routings if one.trial}
        for ended in self._counts.keys() - {trial.epoch for trial in trials.values()}:
            del self._counts[ended], self._since_s[ended]
        for name, trial in trials.items():
            await self._look_at(name, trial)

    async def _look_at(self, name: str, trial: Trial) -> None:
        written = self._counts_of(trial.epoch).to_json()
        verdict = self._judge(await self._store.write(trial.epoch, self._worker_id, written))
        if verdict.word != "worse":
            return
        reason = f"{trial.model.version}: {verdict.reason}"
        try:
            await self._take_back(name, trial.epoch, reason)
        except RegistryError:
            return  # another worker did it, or an operator changed it
        self._on_taken_back()
        log.error("the canary was taken back: %s", reason)

    async def verdict(self, epoch: str) -> Verdict:
        """The verdict on a canary as all workers' counts have it now.

        Raises:
            StoreError: the store can't be read.
        """
        return self._judge(await self._store.read(epoch))

    def _judge(self, documents: Iterable[bytes]) -> Verdict:
        summed = total(filter(None, map(self._read, documents)))
        return judge(summed.active, summed.canary, self._bounds)

    def _read(self, document: bytes) -> Counts | None:
        try:
            return Counts.from_json(document)
        except StoreError as error:
            if document not in self._unreadable:
                self._unreadable = {document}
                log.warning("%s", error)
            return None

    def _counts_of(self, epoch: str) -> Counts:
        """The counts of an epoch, of whichever name; they begin anew with another."""
        counts = self._counts.get(epoch)
        if counts is None:
            counts = self._counts[epoch] = Counts()
            self._since_s[epoch] = monotonic()
        return counts
