"""Features last read of each user: for answers while the store is away, and to decode them once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass

from app.store.history import History
from model_store.id_map import IdMap


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
        self._users: OrderedDict[str, Remembered] = OrderedDict()

    def get(self, user_id: str) -> Remembered | None:
        """The features last read of a user, None if no longer known."""
        remembered = self._users.get(user_id)
        if remembered is not None:
            self._users.move_to_end(user_id)
        return remembered

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
        self._users[user_id] = remembered
        self._users.move_to_end(user_id)
        if len(self._users) > self._limit:
            self._users.popitem(last=False)
