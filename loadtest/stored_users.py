"""Workload: known users ask for recommendations; the service looks up their histories."""

from __future__ import annotations

from functools import partial

from loadtest.answers import find_recommend_fault
from loadtest.paced_user import PacedUser


class StoredUser(PacedUser):
    """`POST /recommend` with a user_id only."""

    def make_request(self) -> None:
        """Ask for one known user."""
        user_id = self.draws.user_id()
        self.request(
            "recommend stored user",
            "POST",
            "/recommend",
            partial(find_recommend_fault, k=self.k, user_id=user_id),
            {"user_id": user_id, "k": self.k},
        )
