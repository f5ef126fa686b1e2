"""Metrics of the admin endpoints."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter

FAILURES = ("missing", "wrong", "role", "limited")


class AdminMetrics:
    """Requests of operators that were rejected."""

    def __init__(self, registry: CollectorRegistry) -> None:
        failures = Counter(
            "longtail_admin_failures",
            "Admin requests rejected, by reason: no token, a wrong one, one whose role is too low, "
            "or too many wrong ones from an address before.",
            ("reason",),
            registry=registry,
        )
        # All from the beginning: a rate over a series that isn't there yet is no zero.
        self._failures = {reason: failures.labels(reason) for reason in FAILURES}

    def failed(self, reason: str) -> None:
        """Count a rejected request."""
        self._failures[reason].inc()
