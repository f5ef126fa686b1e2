"""Ids of anonymous sessions, whose histories have a time to live."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Sessions:
    """Which ids are sessions, and how long their histories live.

    Attributes:
        prefix: ids that begin with it are sessions; None: no id is one.
        ttl_s: seconds that a session's history lives after its last event.
    """

    prefix: str | None = None
    ttl_s: int = 0

    def ttl_of(self, user_id: str) -> int:
        """Seconds that what is kept by an id lives; 0: for good."""
        is_session = self.prefix is not None and user_id.startswith(self.prefix)
        return self.ttl_s if is_session else 0


NO_SESSIONS = Sessions()
