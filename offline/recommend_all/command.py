"""`longtail recommend-all`: from a bundle and histories to a folder of Parquet files."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from model_store.bundle import Bundle
from model_store.embedded import running_store
from model_store.errors import InputError
from model_store.publication import open_active
from model_store.store import connect
from model_store.store_url import store_url_from
from offline.artifact import locked, write_json
from offline.engine.parts import Tally, run_missing
from offline.engine.work import Engine
from offline.inputs import Source
from offline.recommend_all.batches import make_batches
from offline.recommend_all.histories import UserHistories
from offline.recommend_all.ranker import RankUsers, check_kind

COMPLETE = "recommendations.json"
_SOURCES = ".sources"


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
    source: Source | None,
    out: Path,
    options: Options,
    log: Callable[[str], None],
) -> Tally:
    """Write recommendations for every user, and say how many it were a second.

    Files that are there already, of the same histories, bundle and options, stay; others of earlier
    runs are removed at the end. `recommendations.json` is there when all files are.

    Args:
        bundle_folder: of the bundle; None: the active version's.
        source: files with the users' histories; None: those that the bundle holds.
        out: folder of the files.
        options: see there.
        log: called with lines of progress.

    Raises:
        BundleError: the bundle is damaged.
        ConfigError: it is of another kind, or another command is at work in `out`.
        EngineError: a process was lost.
        InputError: a file can't be used, there are no users, or no version is active.
    """
    bundle = _open(bundle_folder)
    check_kind(bundle)
    with locked(out):
        log(f"version {bundle.version}: {bundle.manifest.n_items:,} items")
        if source is None:
            histories = UserHistories.of_bundle(bundle)
        else:
            histories = UserHistories.of_source(source, bundle, log)
        if not len(histories.user_ids):
            raise InputError(f"{bundle.folder}: holds no users; give their --interactions")
        started_s = time.perf_counter()
        tally = _run(bundle, histories, out, options)
        _finish(out, tally, bundle, histories, options)
        log(_describe(tally, options, time.perf_counter() - started_s))
    return tally


def _open(folder: Path | None) -> Bundle:
    if folder is not None:
        return Bundle.open(folder)
    with running_store(store_url_from()) as url:
        active = open_active(connect(url))
    if active is None:
        raise InputError("no version is active; name a bundle with --bundle")
    return Bundle.open(active.folder)


def _run(bundle: Bundle, histories: UserHistories, out: Path, options: Options) -> Tally:
    sources = out / _SOURCES
    shutil.rmtree(sources, ignore_errors=True)  # of a run that was killed
    (out / COMPLETE).unlink(missing_ok=True)
    work = RankUsers(bundle.folder.resolve(), options.k, options.exclude_seen)
    batches = make_batches(histories, work, bundle, out, options.batch_size)
    tally = run_missing(
        options.engine,
        work,
        batches,
        sources,
        n_rows=len(histories.user_ids),
        label="recommending",
        unit="users",
    )
    shutil.rmtree(sources, ignore_errors=True)
    return tally


def _finish(
    out: Path, tally: Tally, bundle: Bundle, histories: UserHistories, options: Options
) -> None:
    """Remove files of other inputs, and say that the others are complete."""
    for other in set(out.glob("users-*.parquet")) - set(tally.targets):
        other.unlink()
    document = {
        "version": bundle.version,
        "users": len(histories.user_ids),
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
