"""The routing of each name, as requests look it up."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from app.deployment.routing import Routing
from app.model.model import Model
from model_store.deployments import DEFAULT


class Routings:
    """Who answers the requests of each name; a request looks here once, without a lock.

    Attributes:
        generations: of the deployment record that the routing of a name follows; also of names
            that were deactivated.
    """

    def __init__(self) -> None:
        self.generations: dict[str, int] = {}
        self._by_name: dict[str | None, Routing] = {}

    def find(self, model: str | None) -> Routing | None:
        """The routing of a name, if one of its versions is loaded.

        Args:
            model: None where a request names none: the default answers it.
        """
        return self._by_name.get(model)

    def use(self, routing: Routing) -> None:
        """Answer requests of its name by this routing from now on."""
        self._by_name[routing.name] = routing
        if routing.name == DEFAULT:
            self._by_name[None] = routing

    def keep_generations(self, models: Collection[str]) -> None:
        """Follow no record of other names any more: one that is made anew begins at 1 again."""
        for model in self.generations.keys() - set(models):
            del self.generations[model]

    def remove(self, model: str) -> None:
        """Answer requests of a name no more."""
        self._by_name.pop(model, None)

    def clear(self) -> None:
        """Let go of all models."""
        self._by_name.clear()

    def __iter__(self) -> Iterator[tuple[str, Routing]]:
        """Names and routings."""
        return iter([(model, one) for model, one in self._by_name.items() if model is not None])

    def __len__(self) -> int:
        return sum(1 for _ in self)

    @property
    def versions(self) -> dict[str, str]:
        """The active version of each name."""
        return {model: routing.active.version for model, routing in self}

    @property
    def models(self) -> tuple[Model, ...]:
        """All models that answer somebody."""
        return tuple({id(one): one for _, routing in self for one in routing.models}.values())

    @property
    def all_models(self) -> tuple[Model, ...]:
        """Those that answer somebody, and the shadows."""
        return tuple({id(one): one for _, routing in self for one in routing.all_models}.values())
