"""Persons who were forgotten, by whichever service: this process forgets them too."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Protocol

from app.store.journal import Journal
from app.store.people import PeopleStore
from model_store.forgotten import digest_of_user


class Memory(Protocol):
    """Something that this process remembers of users."""

    @property
    def user_ids(self) -> Collection[str]:
        """The users that it remembers."""

    def drop(self, user_ids: Collection[str]) -> None:
        """Forget some of them."""


class Forgetting:
    """Removes from memory and journal who was forgotten since this process began.

    Args:
        people: says who was forgotten.
        journal: of events that wait for the store.
        memories: all else that is remembered of users.
        tell: called with the digests of all who were forgotten at any time, some after the other;
            None: nobody asks for those of before this process began.
    """

    def __init__(
        self,
        people: PeopleStore,
        journal: Journal,
        memories: Sequence[Memory],
        tell: Callable[[Collection[bytes]], object] | None = None,
    ) -> None:
        self._people = people
        self._journal = journal
        self._memories = memories
        self._tell = tell
        self._read_up_to: int | None = None
        self._looking = asyncio.Lock()  # of two looks at once, the slower one would go back in time

    @property
    def read_up_to(self) -> int | None:
        """Who was forgotten until then is, here too; unix microseconds. None before a look."""
        return self._read_up_to

    async def look(self) -> None:
        """Forget those who were forgotten since the last look; the first one remembers nobody.

        Raises:
            StoreError: the store can't be read.
        """
        async with self._looking:
            if self._read_up_to is None:
                self._read_up_to = await self._begin()
                return
            while found := await self._people.forgotten_after(self._read_up_to):
                digests = {digest for digest, _ in found}
                if self._tell is not None:
                    self._tell(digests)
                await self._drop(digests)
                self._read_up_to = found[-1][1]

    async def _begin(self) -> int:
        """When somebody was forgotten last, once all of them were told of."""
        if self._tell is None:
            return await self._people.newest()
        at_us = 0
        while found := await self._people.forgotten_after(at_us):
            self._tell({digest for digest, _ in found})
            at_us = found[-1][1]
        return at_us

    async def _drop(self, digests: Collection[bytes]) -> None:
        known = set(self._journal.user_ids).union(*(one.user_ids for one in self._memories))
        # Ten thousand digests take ten milliseconds.
        user_ids = await asyncio.to_thread(_find, known, digests)
        for memory in self._memories:
            memory.drop(user_ids)
        await self._journal.drop(user_ids)


def _find(user_ids: Iterable[str], digests: Collection[bytes]) -> set[str]:
    return {user_id for user_id in user_ids if digest_of_user(user_id) in digests}
