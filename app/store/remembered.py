"""What was last read of each user: for answers while the store is away, and to decode it once."""

from __future__ import annotations

from collections import OrderedDict
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
    """The users asked for last.

    Args:
        limit: how many are kept.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._users: OrderedDict[str, Remembered] = OrderedDict()

    def get(self, user_id: str) -> Remembered | None:
        """What was last read of a user, None where that isn't known any more."""
        remembered = self._users.get(user_id)
        if remembered is not None:
            self._users.move_to_end(user_id)
        return remembered

    def put(self, user_id: str, remembered: Remembered) -> None:
        """Keep what was read; whoever was asked for least recently goes."""
        self._users[user_id] = remembered
        self._users.move_to_end(user_id)
        if len(self._users) > self._limit:
            self._users.popitem(last=False)
