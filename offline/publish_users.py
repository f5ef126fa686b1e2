"""Writes the histories of a bundle's users into the store from several processes."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import polars as pl

from model_store.bundle import Bundle
from model_store.files import write_atomically
from model_store.histories import Interactions
from model_store.placing import Report
from model_store.publication import write_users
from model_store.store import connect
from model_store.store_url import StoreUrl
from offline.cache import cache_folder
from offline.engine.work import Compute, Device, Engine, Part

if TYPE_CHECKING:
    import redis

_FIRST, _STOP = "first", "stop"
# Users of a part, by which progress counts; and parts at most, since each has a file.
_MIN_USERS, _MAX_PARTS = 5_000, 2_000


@dataclass(frozen=True)
class WriteHistories:
    """The `Work` of writing: each part is a range of users.

    Every process sends to all nodes of a cluster at once.

    Attributes:
        bundle: folder of the published bundle.
        version: that it is published as; one at a URL is written from a folder of this machine,
            whose manifest may name another.
        url: of the store; its text hides the password.
    """

    bundle: Path
    version: str
    url: StoreUrl

    device: ClassVar[Device] = "cpu"

    def open(self) -> Compute:
        """Connect, and map and check all histories, once for all parts.

        Raises:
            BundleError: it can't be read.
        """
        interactions = Bundle.open(self.bundle, verify=False).interactions()
        return partial(_write, self.version, interactions, connect(self.url))


def _write(
    version: str, interactions: Interactions, client: redis.Redis, frame: pl.DataFrame
) -> pl.DataFrame:
    [first], [stop] = frame[_FIRST], frame[_STOP]
    written = sum(write_users(version, interactions, client, slice(first, stop)))
    return pl.DataFrame({"written": [written]})


def write_on(engine: Engine, url: StoreUrl, bundle: Bundle, tell: Report) -> None:
    """Write all users' histories; again, it does no harm.

    Args:
        engine: runs the parts.
        url: of the store.
        bundle: the published one.
        tell: called with how many users are written.

    Raises:
        EngineError: a process was lost.
        StoreAway: the store can't be reached.
    """
    folder = cache_folder() / "publish"
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as parts:
        done, total = 0, bundle.n_event_users
        work = WriteHistories(bundle.folder.resolve(), bundle.version, url)
        for part in engine.run(work, _parts(Path(parts), total)):
            done += part.n_rows
            tell("users", done, total)


def _parts(folder: Path, n_users: int) -> Iterator[Part]:
    size = max(_MIN_USERS, -(-n_users // _MAX_PARTS))
    for first in range(0, n_users, size):
        stop = min(first + size, n_users)
        frame = pl.DataFrame({_FIRST: [first], _STOP: [stop]})
        source = folder / f"{first:012}.parquet"
        write_atomically(source, frame.write_parquet)
        yield Part(source, folder / f"{first:012}.written.parquet", stop - first)
