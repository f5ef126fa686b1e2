"""The store's state: whether reads and writes work, by the last answers."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from app.telemetry.announcements import Announcement
from model_store.error_replies import code_of, concerns_all, explain

log = logging.getLogger(__name__)

Word = Literal["up", "empty", "read-only", "away"]


@dataclass(frozen=True)
class Trouble:
    """Why something fails: a code that stays the same while it lasts, and one line."""

    code: str
    line: str


UNKNOWN = Trouble("", "the store has not been asked yet")
AWAY = "AWAY"


class StoreState:
    """Reads and writes, each working or failing; each change is logged once, by one worker.

    Args:
        on_change: called after each change, for the metrics.
    """

    def __init__(self, on_change: Callable[[StoreState], None] | None = None) -> None:
        self.reads: Trouble | None = UNKNOWN
        self.writes: Trouble | None = UNKNOWN
        self._lacking: dict[str, None] = {}
        self._on_change = on_change
        self._announced = Announcement("store-state")
        self._lack_announced = Announcement("store-lacks")

    @property
    def lacks(self) -> str | None:
        """A serving version that is not published in the store, perhaps because it was emptied."""
        return next(iter(self._lacking), None)

    @property
    def word(self) -> Word:
        """The state in one word; a store that can't be read is away, whatever the reason."""
        if self.reads is not None:
            return "away"
        if self.writes is not None:
            return "read-only"
        return "up" if self.lacks is None else "empty"

    @property
    def reason(self) -> str | None:
        """The reason why it is not up, in one line; None if it is."""
        trouble = self.reads or self.writes
        if trouble is not None:
            return trouble.line
        return f"the store lacks version {self.lacks}; was it emptied?" if self.lacks else None

    def away(self, line: str) -> None:
        """Record that the store doesn't answer."""
        self.set(Trouble(AWAY, line), Trouble(AWAY, line))

    def probed(self, replies: Sequence[Any]) -> None:
        """Record a tried read and write, by their `replies`."""
        read, write = map(trouble_in, replies)
        self.set(read, write)

    def set(self, reads: Trouble | None, writes: Trouble | None) -> None:
        """Record a result, and log it if it is new."""
        before = (_code(self.reads), _code(self.writes))
        is_first = self.reads is UNKNOWN
        self.reads, self.writes = reads, writes
        if (_code(reads), _code(writes)) == before:
            return
        # What has not been tried yet is nothing to tell.
        if UNKNOWN not in (reads, writes):
            self._announce(is_first)
        if self._on_change is not None:
            self._on_change(self)

    def _announce(self, is_first: bool) -> None:
        """Log a new state, unless another worker has."""
        trouble = self.reads or self.writes
        word = "up" if trouble is None else "read-only" if self.reads is None else "away"
        state = word if trouble is None else f"{word} {trouble.code}"
        before = self._announced.exchange(state)
        if before == state:
            return
        if trouble is None:
            if before:  # else it was there from the beginning
                was = before.partition(" ")[0]
                log.warning("the store is back: reads and writes work again (it was %s)", was)
        elif word == "read-only":
            log.error("the store is read-only: %s; events go to the journal", trouble.line)
        else:
            log.error(
                "%sthe store is away: %s; histories come from memory, events go to the journal",
                "STARTING WITHOUT THE STORE: " if is_first else "",
                trouble.line,
            )

    def has_version(self, version: str, has: bool) -> None:
        """Record whether the store holds a serving version."""
        if has != (version in self._lacking):
            return
        if has:
            del self._lacking[version]
        else:
            self._lacking[version] = None
        lacking = self._lacking_line()
        if self._lack_announced.exchange(lacking) == lacking:
            pass  # another worker has logged it
        elif has:
            log.warning("the store holds version %s again", version)
        else:
            log.error(
                "the store lacks version %s (was it emptied?); histories come from memory; "
                "publish the version again",
                version,
            )
        if self._on_change is not None:
            self._on_change(self)

    def holds(self, version: str) -> bool:
        """Whether the store held a version when it was last asked for that; unasked, it does."""
        return version not in self._lacking

    def keep_only(self, versions: Collection[str]) -> None:
        """Forget that the store lacks versions that serve no more."""
        gone = self._lacking.keys() - versions
        for version in gone:
            del self._lacking[version]
        if gone:
            self._lack_announced.exchange(self._lacking_line())
            if self._on_change is not None:
                self._on_change(self)

    def _lacking_line(self) -> str:
        return " ".join(self._lacking) or "None"

    def reads_work(self) -> None:
        """Record that a read was answered."""
        if self.reads is not None:
            self.set(None, self.writes)

    def writes_work(self) -> None:
        """Record that a write was answered."""
        if self.writes is not None:
            self.set(self.reads, None)


def trouble_in(reply: Any) -> Trouble | None:
    """The error of a reply that concerns the whole store; None if there is none."""
    if not isinstance(reply, Exception):
        return None
    message = str(reply)
    return Trouble(code_of(message), explain(message)) if concerns_all(message) else None


def _code(trouble: Trouble | None) -> str | None:
    return trouble.code if trouble else None
