"""Workload: callers who send their session; the service looks nothing up."""

from __future__ import annotations

from functools import partial

from loadtest.answers import find_recommend_fault
from loadtest.paced_user import PacedUser


class StatelessSession(PacedUser):
    """`POST /recommend` with a history as long as a real session is at some moment."""

    def make_request(self) -> None:
        """Ask for the next items of one session."""
        self.request(
            "recommend session",
            "POST",
            "/recommend",
            partial(find_recommend_fault, k=self.k),
            {"history": self.draws.history(), "k": self.k},
        )
