"""Metrics of callers' keys."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter

REJECTIONS = ("missing", "wrong", "quota")


class CallerMetrics:
    """Requests that were rejected for their key."""

    def __init__(self, registry: CollectorRegistry) -> None:
        rejections = Counter(
            "longtail_caller_rejections",
            "Requests rejected where callers need a key, by reason: none, a wrong one, or a quota "
            "that is used up.",
            ("reason",),
            registry=registry,
        )
        self._rejections = {reason: rejections.labels(reason) for reason in REJECTIONS}

    def rejected(self, reason: str) -> None:
        """Count a rejected request."""
        self._rejections[reason].inc()
