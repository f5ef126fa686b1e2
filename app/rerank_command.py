"""`longtail rerank`: asks the reranker about a version's users before they come.

The reranker's process is one of this command's own, so that a running service keeps its own for
requests. Both have the lowest priority.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from app.deployment.forgetting import Forgetting
from app.deployment.fresh_items import with_stored_items
from app.deployment.loading import load_version
from app.deployment.repeating import Repeating
from app.folders import check_writable
from app.http.requests import RecommendRequest
from app.model.background import BackgroundThread
from app.model.model import Model
from app.model.rule_book import compile_set
from app.progress import Progress
from app.recommend.precompute import Precompute, Tally
from app.rerank_supervisor import reranker_process
from app.reranking.cache import AnswerCache
from app.reranking.client import RerankClient
from app.reranking.job import RerankError
from app.reranking.lowest_priority import LOWEST_NICENESS
from app.reranking.outcome import Rerank
from app.reranking.rank_server import MAX_WAITING
from app.settings import Settings, read_settings
from app.store.journal import Journal
from app.store.store import Store
from app.telemetry.logs import configure_logging
from model_store.bundle import Bundle
from model_store.embedded import EmbeddedStore
from model_store.errors import ConfigError, RegistryError
from model_store.keys import N_SLOTS, slot_of_user
from model_store.publication import find_published
from model_store.registry import Registry
from model_store.store import connect
from model_store.store_url import StoreUrl

Users = Literal["tail", "all"]


@dataclass(frozen=True)
class Share:
    """The users of as many slots as each of the other shares has.

    Attributes:
        number: from 1.
        of: how many shares there are.
    """

    number: int
    of: int

    def holds(self, user_id: str) -> bool:
        """Whether a user is of this share, and of no other."""
        return slot_of_user(user_id) * self.of // N_SLOTS == self.number - 1


EVERYBODY = Share(1, 1)

# At the lowest priority, on a machine that is busy, loading takes a while.
MAX_LOAD_S = 600.0
# No request waits here, and this process is one of the last to get a core.
STORE_TIMEOUT_S = 30.0
LOOK_S = 1.0
"""Between two looks at who is forgotten."""


@dataclass(frozen=True)
class _Task:
    """What is to be done: for whom, by which version, in which store."""

    users: Users
    share: Share
    limit: int | None
    max_in_flight: int
    settings: Settings
    url: StoreUrl
    bundle: Bundle


def run(
    *,
    bundle: Path | None,
    users: Users,
    limit: int | None,
    max_in_flight: int,
    share: Share = EVERYBODY,
    as_json: bool = False,
) -> int:
    """Fill the cache and print what became of the users; returns 1 if some of them failed.

    Args:
        bundle: folder of a published bundle; None: that of the active version.
        users: tail users, or all.
        limit: of the users that the reranker is asked about; None: none.
        max_in_flight: limit on jobs that the reranker has at a time.
        share: of the users, and of the answers that the cache keeps.
        as_json: print JSON, also where no job was answered.

    Raises:
        LongtailError: it could not be done, or not go on.
    """
    settings = read_settings()
    if not settings.rerank:
        raise ConfigError("LONGTAIL_RERANK=off: a service with it uses no reranked answers")
    check_writable(settings.store_dir, "LONGTAIL_STORE_DIR")
    with contextlib.ExitStack() as stack:
        url = settings.redis_url or StoreUrl.parse(
            stack.enter_context(EmbeddedStore(settings.store_dir)).url
        )
        opened = _open_bundle(bundle, settings, url)
        configure_logging(settings.log_level, settings.log_format)
        # It speaks of requests and their histories; here a store that fails ends the command.
        logging.getLogger("app.store.state").setLevel(logging.CRITICAL)
        os.nice(LOWEST_NICENESS)
        settings = stack.enter_context(reranker_process(settings, own_session=True))
        task = _Task(users, share, limit, min(max_in_flight, MAX_WAITING), settings, url, opened)
        tally = asyncio.run(_fill(task))
    if tally.failed and not tally.asked and not as_json:
        raise RerankError(f"none of {tally.failed:,} jobs was answered: {tally.reason}")
    print(json.dumps(asdict(tally)) if as_json else _readable(tally))
    return 1 if tally.failed else 0


def _open_bundle(folder: Path | None, settings: Settings, url: StoreUrl) -> Bundle:
    """The published bundle with exactly these files, or that of the active version.

    Raises:
        RegistryError: it isn't published, or no version is active.
        BundleError: it can't be read.
        RerankError: it has no reranker.
    """
    with connect(url) as client:
        registry = Registry(client)
        if folder is not None:
            source = Bundle.open(folder, verify=False)
            record = find_published(source, registry, settings.bundles_dir)
            if record is None:
                raise RegistryError(f"{folder}: it is not published; `longtail publish` does that")
        else:
            active = registry.active()
            if active is None:
                raise RegistryError("no version is active; activate one, or give --bundle")
            record = registry.get(active)
        opened = registry.folder_of(record.version, settings.bundles_dir)
    bundle = Bundle.open(opened, verify=False)
    if bundle.manifest.reranker is None:
        raise RerankError(f"version {record.version} has no reranker")
    return bundle


async def _fill(task: _Task) -> Tally:
    settings, version = task.settings, task.bundle.version
    journal = Journal(settings.store_dir)
    store = Store(task.url, journal, timeout_s=STORE_TIMEOUT_S, remembered_users=0)
    assert settings.rerank_socket is not None  # noqa: S101 - `run` has checked that it is on
    client = RerankClient(settings.rerank_socket)
    forgetting = Forgetting(store.people, journal, (), client.forget)
    following = Repeating("reading who is forgotten", forgetting.look, LOOK_S, store.is_known)
    try:
        await forgetting.look()
        following.start()
        print(f"loading version {version}", file=sys.stderr)
        model = await _load_model(task, store)
        await _load_reranker(client, model)
        cache = AnswerCache(
            store.reranks,
            max_entries=settings.rerank_cache_entries,
            max_age_s=settings.rerank_cache_s,
        )
        precompute = Precompute(
            model,
            client,
            store,
            cache,
            lambda user_id: _request_of(user_id, task.users),
            max_in_flight=task.max_in_flight,
        )
        chosen = await _choose(precompute, task)
        with _shown("reranked", len(chosen), task.limit) as progress:
            return await precompute.fill(
                chosen,
                task.limit,
                lambda tally: progress.show(tally.asked + tally.failed, tally.skipped),
            )
    finally:
        await following.stop()
        await client.close()
        store.close()


async def _load_model(task: _Task, store: Store) -> Model:
    """The version as a service has it: checked, with its fresh items and operators' rules."""
    thread = BackgroundThread("load", yields=False)
    bundle, settings = task.bundle, task.settings
    try:
        model = await thread.run(
            lambda: load_version(
                bundle.folder, bundle.version, settings.execution_provider, settings.trust
            )
        )
        model = await with_stored_items(model, store.versions, thread)
        rules = (await store.versions.followed()).deployments.default.rules
        return model.with_rules(await thread.run(partial(compile_set, rules, model)))
    finally:
        thread.stop(0)


async def _load_reranker(client: RerankClient, model: Model) -> None:
    try:
        async with asyncio.timeout(MAX_LOAD_S):
            await client.load(model.version, model.folder)
    except TimeoutError:
        raise RerankError(
            f"the reranker of version {model.version} is not ready after {MAX_LOAD_S:.0f} s"
        ) from None


async def _choose(precompute: Precompute, task: _Task) -> list[str]:
    """The users to ask about, as many as the cache keeps answers."""
    user_ids = [*filter(task.share.holds, task.bundle.histories().user_ids)]
    with _shown("histories", len(user_ids)) as progress:
        chosen = await precompute.choose(user_ids, progress.show)
    kind = "tail users" if task.users == "tail" else "users with a history"
    line = f"version {task.bundle.version}: {len(chosen):,} {kind} of {len(user_ids):,} users"
    max_entries = max(task.settings.rerank_cache_entries // task.share.of, 1)
    if len(chosen) > max_entries:
        of_share = f" of a share of {task.share.of}" if task.share.of > 1 else ""
        line += (
            f"; the cache keeps {max_entries:,} answers{of_share} (LONGTAIL_RERANK_CACHE_ENTRIES), "
            f"so the {max_entries:,} with the fewest interactions are asked about"
        )
    print(line, file=sys.stderr)
    return chosen[:max_entries]


def _request_of(user_id: str, users: Users) -> RecommendRequest:
    """A request with the defaults of POST /recommend; stored ids need no check."""
    rerank: Rerank = "auto" if users == "tail" else "always"
    return RecommendRequest.model_construct(user_id=user_id, rerank=rerank)


@contextlib.contextmanager
def _shown(label: str, total: int, limit: int | None = None) -> Iterator[Progress]:
    progress = Progress(label, total, limit)
    try:
        yield progress
    finally:
        progress.close()


def _readable(tally: Tally) -> str:
    line = f"asked {tally.asked:,}, skipped {tally.skipped:,} ({tally.cached:,} in the cache"
    if tally.without_job:
        line += f", {tally.without_job:,} with nothing to rank"
    line += f"), failed {tally.failed:,}"
    return line if tally.reason is None else f"{line} (the first: {tally.reason})"
