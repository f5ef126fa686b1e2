"""Every user's history as it is in the store now, with the events since the build."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import redis

from model_store import keys
from model_store.bundle import Bundle
from model_store.codecs import decode_arrived, decode_user
from model_store.errors import StoreError
from model_store.files import write_atomically
from model_store.forgotten import digest_of_user, forgotten_since, read_forgotten
from model_store.history import History, check_items, merge
from model_store.store import store_errors
from offline.engine.rows import Rows
from offline.progress import Progress, announce
from offline.recommend_all.histories import UserHistories
from offline.recommend_all.ranker import USER_ID
from offline.recommend_all.slot_files import SlotFiles

# Keys that one step of a scan looks at, and users whose histories are read together.
_SCANNED, _READ = 1_000, 500


class LiveHistories:
    """The users that the store has a history of in a version, or events.

    Ids are kept on disk, and histories are read batch by batch: memory doesn't grow with the users.
    The store is read as it stands when a batch is due; whoever was forgotten by then isn't in it.

    Args:
        client: of the store.
        bundle: its item_indices, and its rules of events.
        version: that it is published as.
        folder: for the ids; it is the caller's to remove.

    Raises:
        StoreAway: the store can't be reached.
    """

    def __init__(self, client: redis.Redis, bundle: Bundle, version: str, folder: Path) -> None:
        self._client, self._bundle, self._version = client, bundle, version
        self._forgotten = read_forgotten(client)
        self._n_unreadable, self._first_unreadable = 0, ""
        self._ids = SlotFiles(folder)
        with store_errors(), Progress("users in the store", None, "keys") as progress:
            for name in client.scan_iter(match=keys.users_pattern(), count=_SCANNED):
                user_id = keys.user_of(name.decode("utf-8", "replace"), version)
                if user_id is not None:
                    self._ids.add(user_id)
                progress.advance()
        self.n_users = self._ids.finish()

    def frames(self, n_users: int) -> Iterator[tuple[str, pl.DataFrame]]:
        """See `UserHistories.frames`; the order is that of slots, and of ids within."""
        for name, user_ids in self._ids.groups(n_users):
            found: list[tuple[str, History]] = []
            for start in range(0, len(user_ids), _READ):
                found += self._read(user_ids[start : start + _READ])
            if found:
                histories = UserHistories(
                    [user_id for user_id, _ in found],
                    Rows.of([history.items for _, history in found]),
                    Rows.of([history.disliked for _, history in found]),
                )
                yield name, histories.frame(0, len(found))

    def finish(self, targets: Sequence[Path]) -> int:
        """Remove from results who was forgotten meanwhile, and tell who could not be read.

        Args:
            targets: Parquet files with a column of user ids.

        Returns:
            how many were removed.

        Raises:
            StoreAway: the store can't be reached.
        """
        n_removed = 0
        meanwhile = forgotten_since(self._forgotten, self._client)
        for target in targets if meanwhile else ():
            frame = pl.read_parquet(target)
            gone = [one for one in frame[USER_ID].unique() if digest_of_user(one) in meanwhile]
            if gone:
                left = frame.filter(~pl.col(USER_ID).is_in(gone))
                write_atomically(target, left.write_parquet)
                n_removed += len(gone)
        if self._n_unreadable:
            announce(
                f"{self._n_unreadable:,} users left out, whose history in the store can't be "
                f"read: {self._first_unreadable}"
            )
        return n_removed

    def _read(self, user_ids: Sequence[str]) -> Iterator[tuple[str, History]]:
        with store_errors(), self._client.pipeline(transaction=False) as pipe:
            for user_id in user_ids:
                pipe.get(keys.user_key(self._version, user_id))
                pipe.zrange(keys.events_key(user_id), 0, -1)
            replies: list[Any] = pipe.execute(raise_on_error=False)
            for reply in replies:
                if isinstance(reply, Exception) and not _is_of_one_key(reply):
                    raise reply
        for user_id, blob, entries in zip(user_ids, replies[::2], replies[1::2], strict=True):
            try:
                history = self._decode(blob, entries)
            except (StoreError, redis.RedisError) as error:
                self._first_unreadable = self._first_unreadable or f"user {user_id!r}: {error}"
                self._n_unreadable += 1
                continue
            if history is not None:
                yield user_id, history

    def _decode(self, blob: Any, entries: Any) -> History | None:
        """The history as a request reads it; None: the user was forgotten since the scan.

        Raises:
            StoreError: it can't be read.
            redis.RedisError: the store's reply is an error.
        """
        for reply in (blob, entries):
            if isinstance(reply, Exception):
                raise reply
        if blob is None and not entries:
            return None
        base = None if blob is None else check_items(decode_user(blob), len(self._bundle.item_ids))
        manifest = self._bundle.manifest
        events = [*map(decode_arrived, entries)]
        history = merge(base, events, self._bundle.item_ids, manifest.events)
        return history.collapsed(manifest.model.repeats)


def _is_of_one_key(error: Exception) -> bool:
    """Whether a reply says that a key holds something else, as those of version 0.1 may."""
    return isinstance(error, redis.ResponseError) and "WRONGTYPE" in str(error)
