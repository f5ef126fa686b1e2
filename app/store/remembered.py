"""Features last read of each user: for answers while the store is away, and to decode them once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass

from model_store.history import History
from model_store.id_map import IdMap

MAX_VERSIONS = 2
"""Of each user: two models that answer under two names read the same users."""


@dataclass(frozen=True, slots=True)
class Remembered:
    """A user's features as last read, and the history they make in a version's item indices."""

    version: str
    n_items: int
    blob: bytes | None
    entries: list[bytes]
    history: History

    def is_for(self, version: str, ids: IdMap) -> bool:
        """Whether the item indices are this version's; fresh items only ever add to them."""
        return self.version == version and self.n_items == len(ids)


class RememberedUsers:
    """The most recent users.

    Args:
        limit: number of users.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._users: OrderedDict[str, dict[str, Remembered]] = OrderedDict()

    def get(self, user_id: str, version: str) -> Remembered | None:
        """The features last read of a user, None if no longer known.

        They are of this version; of the one that was read last where none of it are known.
        """
        by_version = self._users.get(user_id)
        if by_version is None:
            return None
        self._users.move_to_end(user_id)
        return by_version.get(version) or next(reversed(by_version.values()))

    @property
    def user_ids(self) -> list[str]:
        """The users."""
        return list(self._users)

    def drop(self, user_ids: Collection[str]) -> None:
        """Forget the features of users."""
        for user_id in user_ids:
            self._users.pop(user_id, None)

    def put(self, user_id: str, remembered: Remembered) -> None:
        """Remember a user's features; the least recently used one is forgotten."""
        by_version = self._users.setdefault(user_id, {})
        by_version.pop(remembered.version, None)
        by_version[remembered.version] = remembered
        if len(by_version) > MAX_VERSIONS:
            del by_version[next(iter(by_version))]
        self._users.move_to_end(user_id)
        if len(self._users) > self._limit:
            self._users.popitem(last=False)
