"""Shows in the metrics which versions answer."""

from __future__ import annotations

from app.deployment.routings import Routings
from app.model.model import Model
from app.telemetry.metrics import Metrics


class ModelMetrics:
    """Follows the routings of a worker, one after another.

    Args:
        metrics: of the service.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._answering: set[tuple[str, str]] = set()

    def note(self, routings: Routings) -> None:
        """Show who answers from now on, and the default's items."""
        answering = {(one.version, name) for name, routing in routings for one in routing.models}
        for labels in self._answering | answering:
            self._metrics.model.labels(*labels).set(labels in answering)
        self._answering = answering
        arms = frozenset[tuple[str, str]]().union(*(one.answering for _, one in routings))
        self._metrics.answering(arms, routings.versions.keys())
        default = routings.find(None)
        if default is not None:
            self._note_items(default.active)

    def _note_items(self, model: Model) -> None:
        self._metrics.model_created.set(model.created_s)
        self._metrics.items.labels("all").set(len(model.ids))
        self._metrics.items.labels("fresh").set(model.n_fresh)
