"""Users in batches, each with the name that its recommendations get."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import polars as pl

from model_store import bundle as files
from model_store.bundle import Bundle
from offline.engine.rows import rows_of
from offline.fingerprint import fingerprint_of, hash_code
from offline.recommend_all.ranker import DISLIKED, HISTORY, USER_ID, RankUsers

_FINGERPRINT = 16
_NAME = re.compile(rf"users-(slots-)?[0-9-]+\.[0-9a-f]{{{_FINGERPRINT}}}\.parquet")
# Files of a bundle that decide what is recommended for a history.
_DECIDING = (files.MODEL, files.ITEM_TABLE, files.ITEM_IDS, files.POPULARITY)


@dataclass(frozen=True)
class UserBatch:
    """A `Batch` of users."""

    target: Path
    frame: pl.DataFrame


class Users(Protocol):
    """Users with their histories, as they are read."""

    @property
    def n_users(self) -> int:
        """How many there are, or a few more."""
        ...

    def frames(self, n_users: int) -> Iterator[tuple[str, pl.DataFrame]]:
        """At most so many at a time, as `Ranker` takes them, with a name of their place."""
        ...


def make_batches(
    users: Users, work: RankUsers, bundle: Bundle, folder: Path, n_users: int
) -> Iterator[UserBatch]:
    """The users in their order, `n_users` at a time.

    A result is named by the place of its users among all, and by a fingerprint of all that decides
    it: these users' histories, the bundle's model, the options, the code.
    """
    common = fingerprint_of(
        hash_code("offline.recommend_all.ranker"),
        *(bundle.manifest.files[name].sha256 for name in _DECIDING),
        bundle.manifest.kind,
        bundle.manifest.model,
        bundle.manifest.events.dislike_weight,
        work.k,
        work.exclude_seen,
    )
    for place, frame in users.frames(n_users):
        rows = (part for name in (HISTORY, DISLIKED) for part in rows_of(frame[name]))
        fingerprint = fingerprint_of(common, frame[USER_ID].to_list(), *rows)
        yield UserBatch(folder / f"users-{place}.{fingerprint[:_FINGERPRINT]}.parquet", frame)


def results_in(folder: Path) -> Iterator[Path]:
    """The results in a folder, by their names: nobody else's files, whatever these begin with."""
    return (path for path in folder.glob("users-*.parquet") if _NAME.fullmatch(path.name))
