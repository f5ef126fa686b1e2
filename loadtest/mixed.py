"""Workload: visits. A person looks, picks an item (an event), looks again, sometimes compares.

Visitors are synthetic (`loadtest-…`), so no real user's history changes. The service keeps their
events: run this against a store whose content may be lost.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from loadtest.answers import find_event_fault, find_recommend_fault, find_similar_fault
from loadtest.paced_user import PacedUser

SHARE_OF_KNOWN_USERS = 0.3
SHARE_OF_COMPARISONS = 0.1


class Visitor(PacedUser):
    """Every request of a visit has an intended start of its own."""

    def on_start(self) -> None:
        """Begin with the first step of the first visit."""
        self._steps = self._visit()
        super().on_start()

    def make_request(self) -> None:
        """Take the next step; after the last one, begin the next visit."""
        if next(self._steps, None) is None:
            self._steps = self._visit()
            next(self._steps)

    def _visit(self) -> Iterator[str]:
        """Recommend, pick, and again; yields the name of each step after its request."""
        if self.draws.happens_with(SHARE_OF_KNOWN_USERS) and self.run_of.workload.user_ids:
            self._recommend(self.draws.user_id(), [])
            yield "known user"
            return
        user_id = f"loadtest-{uuid.uuid4().hex}"
        picked: list[str] = []
        for _ in range(self.draws.session_length()):
            answer = self._recommend(user_id, picked)
            yield "recommend"
            item_id = answer["items"][0]["item_id"] if answer else self.draws.item_id()
            if self._send_event(user_id, item_id):
                picked.append(item_id)
            yield "event"
            if self.draws.happens_with(SHARE_OF_COMPARISONS):
                self._compare(item_id)
                yield "similar"

    def _recommend(self, user_id: str, picked: list[str]) -> Any:
        def find_fault(status: int, answer: Any) -> str | None:
            fault = find_recommend_fault(status, answer, k=self.k, user_id=user_id)
            if fault is not None or answer["degraded"]:
                return fault
            again = {item["item_id"] for item in answer["items"]} & set(picked)
            return "an item came back though its event was acknowledged" if again else None

        body: dict[str, object] = {"user_id": user_id, "k": self.k}
        return self.request("recommend visitor", "POST", "/recommend", find_fault, body)

    def _send_event(self, user_id: str, item_id: str) -> Any:
        event = {"user_id": user_id, "item_id": item_id}
        return self.request("event", "POST", "/events", find_event_fault, {"events": [event]})

    def _compare(self, item_id: str) -> None:
        path = f"/items/{quote(item_id, safe='')}/similar"
        self.request("similar items", "GET", path, find_similar_fault)
