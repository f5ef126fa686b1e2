"""Which version answers a request; and where none does, why."""

from __future__ import annotations

from collections.abc import Callable

from app.deployment.models import Models
from app.deployment.routing import Routing
from app.model.model import Model
from model_store.deployments import DEFAULT, describe_unknown
from model_store.errors import InvalidField, NotReady, WrongKind


class Answering:
    """Finds the routing of a request among the models of this worker.

    Args:
        models: of this worker.
        starting: what the service still does before its first load is over; None after that.
    """

    def __init__(self, models: Models, starting: Callable[[], str | None]) -> None:
        self._models = models
        self._starting = starting
        self._had_all_names = False

    def model(self) -> Model:
        """The default's active version, to be used for one whole request.

        Raises:
            NotReady: none is loaded.
        """
        return self.routing().active

    def model_when_ready(self) -> Model:
        """As `model`; NotReady also until each name's first version is loaded, or rejected."""
        model = self.model()
        if not self._had_all_names:
            records = self._models.deployments
            for name in records.names:
                if records.of(name).active not in self._models.versions.rejected:
                    self.routing(name)
            self._had_all_names = True
        return model

    def routing(self, model: str | None = None) -> Routing:
        """Who answers whom, to be used for one whole request.

        Args:
            model: a name under which versions are active; None: the default.

        Raises:
            InvalidField: no version is active under the name; the message lists those there are.
            NotReady: no model is loaded.
        """
        models = self._models
        routing = models.routings.find(model)
        if routing is None and model not in (None, DEFAULT):
            routing = models.about_to_answer(model)
        if routing is None:
            names = models.deployments.names
            # Before the record is read, nobody knows which names there are.
            if model is not None and model not in names and models.is_record_read:
                raise InvalidField("model", model, describe_unknown(model, names))
            raise NotReady(self._why_not(model))
        return routing

    def _why_not(self, model: str | None) -> str:
        """Why nobody answers under a name at present."""
        models = self._models
        if models.versions.loading is not None:
            return f"version {models.versions.loading} is being loaded"
        if (starting := self._starting()) is not None:
            return starting
        if model is not None and model != DEFAULT:
            if not models.is_record_read:
                return "the deployment record can't be read"
            version = models.deployments.of(model).active
            reason = models.versions.rejected.get(version or "", "it is about to be loaded")
            return f"no model is loaded under the name {model!r} ({version}: {reason})"
        reasons = "; ".join(f"{v}: {why}" for v, why in models.versions.rejected.items())
        return f"no model is loaded ({reasons or 'no version is active'})"

    def hint_at_ratings(self, error: WrongKind) -> WrongKind:
        """The error with the names under which ratings are predicted."""
        can = [f'"model": "{name}"' for name, one in self._models.routings if one.active.rating]
        way = f"ask with {' or '.join(can)}" if can else "no version of kind 'rating' is active"
        return WrongKind(f"{error}; {way}")
