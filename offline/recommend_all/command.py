"""`longtail recommend-all`: from a bundle and histories to a folder of Parquet files."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import redis

from model_store.bundle import Bundle
from model_store.embedded import running_store
from model_store.errors import InputError, RegistryError
from model_store.publication import bundles_folder, find_published, open_active
from model_store.registry import Registry
from model_store.store import connect
from model_store.store_url import store_url_from
from offline.artifact import locked, write_json
from offline.engine.parts import Tally, run_missing
from offline.engine.work import Engine
from offline.inputs import Source
from offline.recommend_all.batches import Users, make_batches, results_in
from offline.recommend_all.histories import UserHistories
from offline.recommend_all.live import LiveHistories
from offline.recommend_all.ranker import RankUsers, check_kind

COMPLETE = "recommendations.json"
_SOURCES, _USER_IDS = ".sources", ".user-ids"


class Live(Enum):
    """See `LIVE`."""

    STORE = "the store"


LIVE = Live.STORE
"""The histories that the store has now, with the events since the build."""


@dataclass(frozen=True)
class Options:
    """What is recommended, and how it is computed.

    Attributes:
        k: items for each user.
        exclude_seen: leave out the items of the history.
        batch_size: users of a file, whose recommendations are in memory together.
        engine: where it is computed.
    """

    k: int
    exclude_seen: bool
    batch_size: int
    engine: Engine


def recommend_all(
    bundle_folder: Path | None,
    source: Source | Live | None,
    out: Path,
    options: Options,
    log: Callable[[str], None],
) -> Tally:
    """Write recommendations for every user, and say how many it were a second.

    Files that are there already, of the same histories, bundle and options, stay; others of earlier
    runs are removed at the end. `recommendations.json` is there when all files are.

    Args:
        bundle_folder: of the bundle; None: the active version's.
        source: files with the users' histories, or LIVE; None: those that the bundle holds.
        out: folder of the files.
        options: see there.
        log: called with lines of progress.

    Raises:
        BundleError: the bundle is damaged.
        ConfigError: it is of another kind, or another command is at work in `out`.
        EngineError: a process was lost.
        InputError: a file can't be used, there are no users, or no version is active.
        RegistryError: the bundle isn't published, so the store has no histories for it.
        StoreAway: the store can't be reached.
    """
    with ExitStack() as stack:
        if source is LIVE:
            client = connect(stack.enter_context(running_store(store_url_from())))
            bundle, version = _open_published(bundle_folder, client)
        else:
            bundle = _open(bundle_folder)
        check_kind(bundle)
        stack.enter_context(locked(out))
        log(f"version {bundle.version}: {bundle.manifest.n_items:,} items")
        _remove_left_over(out)
        (out / COMPLETE).unlink(missing_ok=True)
        users: Users
        if source is LIVE:
            users = LiveHistories(client, bundle, version, out / _USER_IDS)
        elif isinstance(source, Source):
            users = UserHistories.of_source(source, bundle, log)
        else:
            users = UserHistories.of_bundle(bundle)
        if not users.n_users:
            raise InputError(_no_users(bundle, source))
        started_s = time.perf_counter()
        tally = _run(bundle, users, out, options)
        n_removed = users.finish(tally.targets) if isinstance(users, LiveHistories) else 0
        _finish(out, tally, tally.n_computed + tally.n_known - n_removed, bundle, options)
        log(_describe(tally, options, time.perf_counter() - started_s))
    return tally


def _remove_left_over(out: Path) -> None:
    """Remove what a run that was killed was writing."""
    for folder in (_SOURCES, _USER_IDS):
        shutil.rmtree(out / folder, ignore_errors=True)
    for partial in out.glob(".users-*.partial"):
        partial.unlink(missing_ok=True)


def _open(folder: Path | None) -> Bundle:
    if folder is not None:
        return Bundle.open(folder)
    with running_store(store_url_from()) as url:
        return _active(connect(url))


def _active(client: redis.Redis) -> Bundle:
    active = open_active(client)
    if active is None:
        raise InputError("no version is active; name a bundle with --bundle")
    return Bundle.open(active.folder)


def _open_published(folder: Path | None, client: redis.Redis) -> tuple[Bundle, str]:
    """A bundle, or the active version's, and the version whose histories are in the store."""
    if folder is None:
        bundle = _active(client)
        return bundle, bundle.version
    bundle = Bundle.open(folder)
    record = find_published(bundle, Registry(client), bundles_folder())
    if record is None:
        raise RegistryError(
            f"{folder}: is not published, so the store has no histories for it; "
            "`longtail publish` writes them"
        )
    return bundle, record.version


def _no_users(bundle: Bundle, source: Source | Live | None) -> str:
    if source is LIVE:
        return f"the store holds no users of version {bundle.version}"
    return f"{bundle.folder}: holds no users; give their --interactions"


def _run(bundle: Bundle, users: Users, out: Path, options: Options) -> Tally:
    work = RankUsers(bundle.folder.resolve(), options.k, options.exclude_seen)
    tally = run_missing(
        options.engine,
        work,
        make_batches(users, work, bundle, out, options.batch_size),
        out / _SOURCES,
        n_rows=users.n_users,
        label="recommending",
        unit="users",
    )
    for done in (_SOURCES, _USER_IDS):
        shutil.rmtree(out / done, ignore_errors=True)
    return tally


def _finish(out: Path, tally: Tally, n_users: int, bundle: Bundle, options: Options) -> None:
    """Remove files of other inputs, and say that the others are complete."""
    for other in {*results_in(out)} - {*tally.targets}:
        other.unlink()
    document = {
        "version": bundle.version,
        "users": n_users,
        "k": options.k,
        "exclude_seen": options.exclude_seen,
        "files": [target.name for target in tally.targets],
    }
    write_json(out / COMPLETE, document)


def _describe(tally: Tally, options: Options, seconds: float) -> str:
    if not tally.n_computed:
        return f"unchanged: recommendations for {tally.n_known:,} users are there"
    known = f" ({tally.n_known:,} more were there)" if tally.n_known else ""
    return (
        f"recommended {options.k} items to {tally.n_computed:,} users{known} in {seconds:.1f} s: "
        f"{tally.n_computed / seconds:,.0f} users/s, {options.engine.describe()}"
    )
