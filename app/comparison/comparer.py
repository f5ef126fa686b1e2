"""Compares two published versions: loads those that are not loaded, and lets them go afterwards."""

from __future__ import annotations

from collections.abc import Callable, Set
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from app.comparison.background_answers import BackgroundAnswers
from app.comparison.items import Items
from app.comparison.replay import replay, sample_users
from app.comparison.report import Compared, Comparison, Source, make_report
from app.deployment.fresh_items import with_stored_items
from app.deployment.loading import load_version
from app.model.allocator import large_blocks_mapped
from app.model.background import BackgroundThread, gc_paused, yield_cpu
from app.model.inference import Provider
from app.model.model import Model
from app.store.store import Store
from model_store.answer_pairs import AnswerPair, read_pair
from model_store.bundle import Bundle
from model_store.errors import InvalidField, RegistryError
from model_store.histories import Histories
from model_store.reading import bundle_errors
from model_store.registry import Registry
from model_store.remote_bundles import Bundles
from model_store.signatures import Trust

MAX_USERS = 1_000
DEFAULT_USERS = 200
DEFAULT_K = 10
Progress = Callable[[int, int], object]
"""Called with how many users are done, and of how many."""


@dataclass(frozen=True)
class Wanted:
    """What is to be compared.

    Attributes:
        users: limit on the users that are asked about, or on the shadow's last answers.
        k: number of items, of replayed users.
    """

    a: str
    b: str
    source: Source = "replayed"
    users: int = DEFAULT_USERS
    k: int = DEFAULT_K


class Comparer:
    """Makes reports, one at a time: two more versions in memory are enough.

    Args:
        registry: of the versions.
        store: of the histories and of the shadow's answers.
        thread: loads and answers.
        bundles_dir, provider, trust: as for the versions that answer.
        loaded: returns the model of a version that is loaded anyway.
    """

    def __init__(
        self,
        registry: Registry,
        store: Store,
        thread: BackgroundThread,
        *,
        bundles_dir: Bundles,
        provider: Provider,
        trust: Trust,
        loaded: Callable[[str], Model | None] = lambda _: None,
    ) -> None:
        self._registry = registry
        self._store = store
        self._thread = thread
        self._answers = BackgroundAnswers(store.background_features, thread)
        self._bundles_dir = bundles_dir
        self._provider = provider
        self._trust = trust
        self._loaded = loaded
        self._is_busy = False

    async def compare(
        self, wanted: Wanted, on_progress: Progress = lambda _done, _total: None
    ) -> Comparison:
        """The report.

        Raises:
            InvalidField: the two versions are one.
            UnknownVersion: one of them isn't published.
            RegistryError: another comparison is under way.
            BundleError: one of them can't be loaded.
            StoreError: the store can't be read.
        """
        if wanted.a == wanted.b:
            raise InvalidField("b", wanted.b, "is the version that it is to be compared with")
        if self._is_busy:
            raise RegistryError("another comparison is under way here; try again in a while")
        self._is_busy = True
        try:
            return await self._compare(wanted, on_progress)
        finally:
            self._is_busy = False

    async def _compare(self, wanted: Wanted, on_progress: Progress) -> Comparison:
        folder_a, folder_b = await self._thread.run(
            lambda: [
                self._registry.folder_of(version, self._bundles_dir)
                for version in (wanted.a, wanted.b)
            ]
        )
        forgotten = await self._store.people.everybody()
        users = await self._thread.run(
            lambda: _users_of(folder_a, folder_b, wanted.users, forgotten)
        )
        a = await self._model(wanted.a, folder_a)
        b = await self._model(wanted.b, folder_b)
        if wanted.source == "shadowed":
            pairs = await self._shadowed(wanted)
        else:
            pairs = await replay(
                users.sample,
                a,
                b,
                self._answers,
                wanted.k,
                lambda n_done: on_progress(n_done, len(users.sample)),
            )

        def report() -> Comparison:
            compared = Compared(
                a=wanted.a,
                b=wanted.b,
                source=wanted.source,
                pairs=pairs,
                items_a=Items.of(a),
                items_b=Items.of(b),
                tail_interactions=users.tail_interactions,
            )
            return make_report(compared)

        return await self._thread.run(report)

    async def _shadowed(self, wanted: Wanted) -> list[AnswerPair]:
        documents = await self._store.answer_pairs.read(wanted.a, wanted.b, wanted.users)

        def read() -> list[AnswerPair]:
            pairs = []
            for document in documents:
                yield_cpu()
                if (pair := read_pair(document)) is not None:
                    pairs.append(pair)
            return pairs

        return await self._thread.run(read)

    async def _model(self, version: str, folder: Path) -> Model:
        model = self._loaded(version)
        if model is not None:
            return model
        with gc_paused(), large_blocks_mapped():
            model = await self._thread.run(
                lambda: load_version(folder, version, self._provider, self._trust)
            )
            return await with_stored_items(model, self._store.versions, self._thread)


@dataclass(frozen=True)
class _Users:
    """The users to ask about, and the longest history of a tail user."""

    sample: list[str]
    tail_interactions: int


def _users_of(folder_a: Path, folder_b: Path, n: int, forgotten: Set[bytes]) -> _Users:
    with bundle_errors(folder_a, "can't be read"):
        bundle = Bundle.open(folder_a, verify=False, pause=yield_cpu)
        of_a = bundle.histories()
    with bundle_errors(folder_b, "can't be read"):
        of_b = Bundle.open(folder_b, verify=False, pause=yield_cpu).histories()
    sample = sample_users(of_a.user_ids, of_b.user_ids, n, forgotten)
    return _Users(sample, _tail_interactions(bundle, of_a))


def _tail_interactions(bundle: Bundle, histories: Histories) -> int:
    """As its reranker has it, else the longest of the fifth of its users with the shortest."""
    if bundle.manifest.reranker is not None:
        return bundle.manifest.reranker.weighting.tail_interactions
    lengths = np.sort(np.diff(histories.offsets))
    return int(lengths[(len(lengths) - 1) // 5]) if len(lengths) else 0
