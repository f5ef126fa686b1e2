"""The service's store: two clients, and the reads and writes over them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Collection

from app.store.answer_pairs import AnswerPairStore
from app.store.client import StoreClient
from app.store.cluster_client import ClusterClient
from app.store.cluster_nodes import ClusterState
from app.store.connection import WholeStoreError
from app.store.event_log import EventLog
from app.store.events import EventStore
from app.store.experiment_store import ExperimentStore
from app.store.feature_store import FeatureStore
from app.store.journal import Journal
from app.store.outcome_store import OutcomeStore
from app.store.people import PeopleStore
from app.store.primary import Primary
from app.store.recent_events import RecentEvents, Takeover
from app.store.rerank_cache import RerankCache
from app.store.served_answers import ServedAnswers
from app.store.server_client import ServerClient
from app.store.sessions import NO_SESSIONS, Sessions
from app.store.state import StoreState
from app.store.tokens import TokenStore
from app.store.versions import VersionStore
from model_store import keys
from model_store.errors import StoreAway, StoreError
from model_store.store_url import StoreUrl

# No request waits for the background, so that even a slow store is followed.
BACKGROUND_TIMEOUT_S = 5.0


class Store:
    """Features, events and cached answers for requests, versions and replay for the background.

    Args:
        url: of the store.
        journal: takes the events that the store can't take.
        timeout_s: the longest that a request waits.
        remembered_users: whose last-read features are kept for when the store is away.
        sessions: the users whose events have a time to live.
        logged_entries: limit on the entries of the event log; 0: there is none.
        on_change: called after each change of the store's state.
        on_renewal: called after a failover, when the name of the store means another server.
    """

    def __init__(
        self,
        url: StoreUrl,
        journal: Journal,
        *,
        timeout_s: float,
        remembered_users: int,
        sessions: Sessions = NO_SESSIONS,
        logged_entries: int = 0,
        on_change: Callable[[StoreState], None] | None = None,
        on_renewal: Callable[[], None] | None = None,
    ) -> None:
        self.state = (ClusterState if url.is_cluster else StoreState)(on_change)
        self._requests = _open_client(
            url, timeout_s, on_renewal, state=self.state, on_takeover=self._taken_over
        )
        # It notices by itself, perhaps later: the old primary may take what is replayed until then.
        self._background = _open_client(
            url,
            max(BACKGROUND_TIMEOUT_S, timeout_s),
            on_renewal,
            on_takeover=self._taken_over_in_background,
        )
        has_replicas = url.is_cluster or url.service is not None
        self.recent_events = RecentEvents(self.state) if has_replicas else None
        self.features = FeatureStore(
            self._requests,
            self.state,
            journal,
            remembered_users=remembered_users,
            served=ServedAnswers(self._requests, sessions),
        )
        self.events = EventStore(
            self._requests,
            self._background,
            self.state,
            journal,
            sessions,
            logged_entries,
            self.recent_events,
        )
        self.event_log = EventLog(self._background)
        self.versions = VersionStore(self._background)
        self.people = PeopleStore(self._background)
        self.tokens = TokenStore(self._background)
        self.outcomes = OutcomeStore(self._background)
        # Of a state of its own: what the background finds out says nothing about requests.
        self.background_features = FeatureStore(
            self._background, StoreState(), journal, remembered_users=0
        )
        self.answer_pairs = AnswerPairStore(self._background)
        self.experiments = ExperimentStore(self._background)
        self.reranks = RerankCache(self._requests, self._background)

    async def check(self, versions: Collection[str]) -> None:
        """Check whether requests can read and write, also when there are none.

        Args:
            versions: those that serve, whose publication is checked.
        """
        await asyncio.gather(self._check_requests(versions), self._check_background())

    async def _check_requests(self, versions: Collection[str]) -> None:
        asked = [("HEXISTS", keys.MODELS, version) for version in versions]
        try:
            read, write, *found = await self._requests.probe(*asked)
        except StoreError:
            return  # the client has taken note
        self.state.probed((read, write))
        for version, has in zip(versions, found, strict=True):
            if not isinstance(has, Exception):
                self.state.has_version(version, bool(has))

    async def _check_background(self) -> None:
        with contextlib.suppress(StoreError):  # other calls find that out too
            await self._background.probe()

    async def _taken_over(self, slots: Collection[int] | None) -> None:
        await self.events.taken_over(slots)

    async def _taken_over_in_background(self, slots: Collection[int] | None) -> None:
        await self.events.taken_over(slots, is_background=True)

    def is_known(self, error: StoreError) -> bool:
        """Whether the state has logged this already: the store as a whole fails."""
        about_all = isinstance(error, StoreAway | WholeStoreError)
        return about_all and self.state.word != "up"

    def close(self) -> None:
        """End the connections."""
        self._requests.close()
        self._background.close()


def _open_client(
    url: StoreUrl,
    timeout_s: float,
    on_renewal: Callable[[], None] | None,
    *,
    state: StoreState | None = None,
    on_takeover: Takeover | None = None,
) -> StoreClient:
    """A client as the URL wants it; nothing is opened before the first call."""
    if url.is_cluster:
        return ClusterClient(url, timeout_s=timeout_s, state=state, on_takeover=on_takeover)
    primary = Primary(url, on_takeover) if url.service is not None else None
    return ServerClient(
        url, timeout_s=timeout_s, state=state, on_renewal=on_renewal, primary=primary
    )
