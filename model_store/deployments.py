"""The deployment records by name: `default`, and those that callers name in their requests.

Each name has a record of its own, with its generation, audit, canary, shadow and experiments. What
all of them share are the published versions, and the rules, which stand in the default's record.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from model_store import keys
from model_store.deployment import Deployment, DeploymentReader
from model_store.errors import RegistryError, UnknownExperiment, UnknownModel
from model_store.experiment import Experiment
from model_store.manifest import check_version
from model_store.suggestion import did_you_mean

DEFAULT = "default"
MAX_NAMES = 32
"""Names with an active version; each keeps one in the memory of every worker."""
MAX_DEACTIVATED = 32
"""Records that are kept of names that were deactivated, for their audit."""


def check_name(model: str) -> str:
    """A name of a model has the letters of a version.

    Raises:
        RegistryError: others, or too many.
    """
    try:
        return check_version(model)
    except ValueError as error:
        raise RegistryError(str(error).replace("version", "model", 1)) from None


@dataclass(frozen=True)
class Deployments:
    """All records, as they were read at one moment.

    Attributes:
        default: answers requests that name no model.
        named: all others by their names, also those that were deactivated and answer nobody.
    """

    default: Deployment = field(default_factory=Deployment)
    named: Mapping[str, Deployment] = field(default_factory=dict)

    def of(self, model: str) -> Deployment:
        """The record of a name; an empty one if there is none."""
        if model == DEFAULT:
            return self.default
        return self.named.get(model) or Deployment()

    def __iter__(self) -> Iterator[tuple[str, Deployment]]:
        """Names and records, the default first."""
        yield DEFAULT, self.default
        yield from self.named.items()

    @property
    def are_lost(self) -> bool:
        """Whether there is no record at all: the store is new, or it was emptied."""
        return not (self.default.generation or self.default.active or self.named)

    @property
    def names(self) -> tuple[str, ...]:
        """Names that a request may give: the default, and those with an active version."""
        return (DEFAULT, *(model for model, record in self.named.items() if record.active))

    def find(self, model: str, *, deactivated: bool = False) -> Deployment:
        """The record of a name with an active version, or of the default.

        Args:
            model: the name.
            deactivated: whether it may be one that was deactivated.

        Raises:
            UnknownModel: there is none; the message names those that there are.
        """
        if model not in self.names and not (deactivated and model in self.named):
            raise UnknownModel(f"model {model[:64]!r}: {describe_unknown(model, self.names)}")
        return self.of(model)

    @property
    def versions(self) -> tuple[str, ...]:
        """All versions that a worker must have loaded."""
        found = [version for _, record in self for version in record.versions]
        return tuple(dict.fromkeys(found))

    def names_of(self, version: str) -> list[str]:
        """Names under which a version is active."""
        return [model for model, record in self if record.active == version]

    @property
    def kept_experiments(self) -> tuple[Experiment, ...]:
        """The experiments of all names whose figures are kept."""
        return tuple(one for _, record in self for one in record.kept_experiments)

    def model_of(self, experiment: str) -> str:
        """The name in whose record an experiment stands, running or ended lately.

        Raises:
            UnknownExperiment: there is none; the message names those that there are.
        """
        for model, record in self:
            if any(one.name == experiment for one in record.kept_experiments):
                return model
        names = [one.name for one in self.kept_experiments]
        hint = did_you_mean(experiment, names) or f" (experiments: {', '.join(names) or 'none'})"
        raise UnknownExperiment(f"there is no experiment {experiment[:64]!r}{hint}")

    def find_experiment(self, name: str) -> Experiment:
        """An experiment, running or ended lately; errors as of `model_of`."""
        return self.of(self.model_of(name)).find_experiment(name)


class DeploymentsReader:
    """Reads all records; invalid ones are ignored, with one warning for each."""

    def __init__(self) -> None:
        self._default = DeploymentReader()
        self._named: dict[str, DeploymentReader] = {}

    def read(
        self,
        document: bytes | None,
        active: bytes | None,
        previous: list[bytes],
        named: Mapping[bytes, bytes],
    ) -> Deployments:
        """The records in the store.

        Args:
            document, active, previous: as for `DeploymentReader.read`.
            named: value of keys.DEPLOYMENTS.
        """
        default = self._default.read(document, active, previous)
        found = {}
        for field_, content in sorted(named.items()):
            model = field_.decode("utf-8", "replace")
            try:
                if check_name(model) == DEFAULT:
                    continue
            except RegistryError:
                continue  # no release writes such a name
            reader = self._named.setdefault(model, DeploymentReader(f"{keys.DEPLOYMENTS} {model}"))
            found[model] = reader.read(content, None)
        return Deployments(default, found)


def describe_unknown(model: str, names: tuple[str, ...]) -> str:
    """What is wrong with a name under which no version is active."""
    hint = did_you_mean(model, names)
    return f"no version is active under this name{hint} (names: {', '.join(names)})"
