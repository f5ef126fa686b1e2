"""`longtail rerank-all`: the command `longtail rerank` for shares of the users, on an engine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import polars as pl

from model_store.embedded import running_store
from model_store.errors import LongtailError
from model_store.parent_death import die_with_parent
from model_store.store_url import StoreUrl, store_url_from
from offline.cache import cache_folder
from offline.engine.parts import run_missing
from offline.engine.work import Compute, Device, Engine

# Of a longer command a kill loses the work that is under way, and a machine waits for the last one.
SHARES_EACH = 4
_PREFIX, _STORE, _THREADS = "LONGTAIL_", "LONGTAIL_REDIS_URL", "LONGTAIL_RERANK_THREADS"
# It guards a service; a process that only asks has no use for it.
_LEFT_OUT = "LONGTAIL_ADMIN_TOKEN"
_SHARE, _COUNTS = "share", ("asked", "cached", "without_job", "failed")
_REASON = "reason"


@dataclass(frozen=True)
class RerankShare:
    """The `Work` of asking about shares of the users: each part is one share, such as 2/8.

    Attributes:
        flags: of `longtail rerank`.
        folder: that the command runs in; its variables may name places relative to it.
        variables: LONGTAIL_ variables, which say which store and reranker.
    """

    flags: tuple[str, ...]
    folder: Path
    variables: Mapping[str, str] = field(repr=False)

    device: ClassVar[Device] = "cpu"

    def open(self) -> Compute:
        """Nothing to load: each share has a process of its own."""
        return self._ask

    def _ask(self, frame: pl.DataFrame) -> pl.DataFrame:
        [share] = frame[_SHARE]
        ended = subprocess.run(
            [sys.executable, "-m", "longtail", "rerank", "--share", share, "--json", *self.flags],
            cwd=self.folder,
            env={**os.environ, **self.variables},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            preexec_fn=die_with_parent,
        )
        try:
            tally = json.loads(ended.stdout)
        except ValueError:
            lines = ended.stderr.strip().splitlines() or [f"exit status {ended.returncode}"]
            reason = lines[-1].removeprefix("longtail rerank: ")
            raise LongtailError(f"share {share}: {reason}") from None
        counts = {name: [int(tally[name])] for name in _COUNTS}
        return pl.DataFrame({_SHARE: [share], **counts, _REASON: [tally["reason"] or ""]})


@dataclass(frozen=True)
class _Share:
    """A `Batch`: one share."""

    target: Path
    frame: pl.DataFrame


def rerank_all(
    flags: tuple[str, ...], engine: Engine, n_shares: int, log: Callable[[str], None]
) -> int:
    """Fill the cache of reranked answers, and say what became of the users.

    Args:
        flags: of `longtail rerank`.
        engine: runs the shares, several at a time.
        n_shares: that the users are divided into.
        log: called with the result.

    Returns:
        1 if some of the users failed, else 0.

    Raises:
        EngineError: a process was lost; answers that were given stay.
        LongtailError: a share could not be asked about, or no job of any share was answered; in
            one line.
    """
    started_s = time.perf_counter()
    folder = cache_folder() / "rerank-all"
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        url = stack.enter_context(running_store(store_url_from()))
        parts = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=folder)))
        work = RerankShare(flags, Path.cwd(), _variables(url))
        tally = run_missing(
            engine,
            work,
            _shares(parts, n_shares),
            parts / "sources",
            n_rows=n_shares,
            label="reranking",
            unit="shares",
        )
        found = pl.concat([pl.read_parquet(target) for target in tally.targets])
    asked, cached, without_job, failed = (int(found[name].sum()) for name in _COUNTS)
    seconds = time.perf_counter() - started_s
    line = f"asked {asked:,}, skipped {cached + without_job:,}, failed {failed:,}"
    reasons = found.filter(pl.col("failed") > 0)[_REASON].to_list()
    if failed and not asked:
        raise LongtailError(f"none of {failed:,} jobs was answered: {reasons[0]}")
    line += f" (the first: {reasons[0]})" if reasons else ""
    log(f"{line}; {n_shares} shares in {seconds:.1f} s, {engine.describe()}")
    return 1 if failed else 0


def _variables(url: StoreUrl) -> dict[str, str]:
    """What the command needs to know: this process's LONGTAIL_ variables, and its store."""
    own = {
        name: value
        for name, value in os.environ.items()
        if name.startswith(_PREFIX) and name != _LEFT_OUT
    }
    # Several commands share a machine: one thread each, as all that an engine runs.
    return {_THREADS: "1", **own, _STORE: url.reveal()}


def _shares(parts: Path, n_shares: int) -> Iterator[_Share]:
    for number in range(1, n_shares + 1):
        frame = pl.DataFrame({_SHARE: [f"{number}/{n_shares}"]})
        yield _Share(parts / f"{number:06}.parquet", frame)
