"""Which changes of the deployment record are allowed.

Each function returns the new record, or raises RegistryError with the reason.
"""

from __future__ import annotations

from collections.abc import Collection

from model_store.deployment import Deployment
from model_store.deployments import DEFAULT, MAX_NAMES, Deployments
from model_store.errors import RegistryError, UnknownVersion
from model_store.experiment import Experiment


def check_seen(generation: int, record: Deployment) -> None:
    """Raises RegistryError where a record has changed since somebody decided on a change of it."""
    if record.generation != generation:
        last = f"; the last change: {record.audit[0].what}" if record.audit else ""
        raise RegistryError(
            f"the deployment record was changed meanwhile (its generation is {record.generation}, "
            f"not {generation}{last}); look before going on"
        )


def activating(
    version: str, model: str, before: Deployment, published: Collection[str], found: Deployments
) -> Deployment:
    """The record of a name with another version active."""
    if version not in published:
        raise not_published(version, sorted(published))
    _check_names(model, found)
    return before.activating(version)


def deactivating(model: str, found: Deployments) -> Deployment:
    """The record of a name with no active version."""
    if model == DEFAULT:
        raise RegistryError(
            f"the name {DEFAULT!r} answers requests that name no model and can't be deactivated; "
            "activate another version under it"
        )
    return found.find(model).deactivating()


def rolling_back(
    model: str, before: Deployment, published: Collection[str], found: Deployments
) -> Deployment:
    """The record of a name with the version that was active before."""
    after = before.rolling_back(published)
    if after is None:
        canary = before.canary
        # Who wants to be without a canary may well ask for a rollback.
        hint = f"; the canary {canary.version!r} ends with `--percent 0`" if canary else ""
        raise RegistryError(f"there is no earlier version to roll back to{hint}")
    _check_names(model, found)
    return after


def _check_names(model: str, found: Deployments) -> None:
    """Raises RegistryError where a version under this name would be one name too many."""
    if model not in found.names and len(found.names) > MAX_NAMES:
        raise RegistryError(
            f"{MAX_NAMES} names besides {DEFAULT!r} have an active version, and as many there can "
            "be; deactivate one of them first"
        )


def trying(
    version: str, percent: float, before: Deployment, published: Collection[str]
) -> Deployment:
    """The record with a version as the canary, 0 % meaning none."""
    if not percent:
        if before.canary is None or before.canary.version != version:
            raise no_canary(version, before)
    elif version not in published:
        raise not_published(version, sorted(published))
    elif version == before.active:
        raise RegistryError(f"version {version!r} is active and answers all users already")
    elif before.active is None:
        raise RegistryError("no version is active that a canary could be compared with")
    elif before.experiment is not None and before.experiment.versions:
        raise RegistryError(
            f"experiment {before.experiment.name!r} compares versions; stop it before a canary "
            "answers some of its users"
        )
    return before.trying(version, percent)


def shadowing(
    version: str, share: float, before: Deployment, published: Collection[str]
) -> Deployment:
    """The record with a version as the shadow, 0 % meaning none."""
    if not share:
        if before.shadow is None or before.shadow.version != version:
            known = f"the shadow is {before.shadow.version}" if before.shadow else "there is none"
            raise RegistryError(f"version {version!r} is not the shadow ({known})")
    elif version not in published:
        raise not_published(version, sorted(published))
    elif before.active is None:
        raise RegistryError("no version is active that a shadow could be compared with")
    elif version in before.answering:
        is_canary = before.canary is not None and version == before.canary.version
        role = "active" if version == before.active else "in an experiment"
        role = "the canary" if is_canary else role
        raise RegistryError(f"version {version!r} is {role} and answers users itself")
    return before.shadowing(version, share)


def starting(experiment: Experiment, before: Deployment, published: Collection[str]) -> Deployment:
    """The record with an experiment."""
    name, running = experiment.name, before.experiment
    if running is not None:
        raise RegistryError(
            f"experiment {running.name!r} is running, and one at a time answers a user; "
            "stop it first"
        )
    for one in before.experiments:
        if one.name == name and one.is_kept():
            raise RegistryError(
                f"experiment {name!r} ended at {one.stopped} and its figures are kept until "
                f"{one.kept_until:%Y-%m-%d}; choose another name"
            )
    for version in experiment.versions:
        if version not in published:
            raise not_published(version, sorted(published))
    if before.active is None:
        raise RegistryError("no version is active that could answer other users")
    if before.canary is not None and experiment.versions:
        raise RegistryError(
            f"{before.canary.version!r} is the canary and would answer some of the experiment's "
            "users; promote or end it first, or name no versions"
        )
    return before.starting(experiment)


def check_unused(experiment: str, model: str, found: Deployments) -> None:
    """Raises RegistryError where another name's record has an experiment of this name."""
    for other, record in found:
        if other != model and any(one.name == experiment for one in record.kept_experiments):
            raise RegistryError(
                f"experiment {experiment!r} is one of the model {other!r}; choose another name"
            )


def retiring(version: str, found: Deployments, published: Collection[str]) -> dict[str, Deployment]:
    """The records of all names without a version."""
    if version not in published:
        raise not_published(version, sorted(published))
    uses = {model: use for model, record in found if (use := _use_of(version, record))}
    if uses:
        shown = " and ".join(
            what if model == DEFAULT else f"{what} under the name {model!r}"
            for model, (what, _) in uses.items()
        )
        _, remedy = next(iter(uses.values()))
        raise RegistryError(f"version {version!r} {shown}; {remedy}")
    return {model: record.retiring(version) for model, record in found}


def _use_of(version: str, record: Deployment) -> tuple[str, str] | None:
    """What a version does by a record, and what ends that; None: nothing."""
    if record.active == version:
        return "is active", "activate another one first"
    if record.experiment is not None and version in record.experiment.versions:
        return f"answers in experiment {record.experiment.name!r}", "stop that first"
    if version in record.versions:
        role = "shadow" if record.shadow and version == record.shadow.version else "canary"
        return f"is the {role}", "end that first (0 %)"
    return None


def no_canary(version: str, before: Deployment) -> RegistryError:
    """The error for a version that is not the canary."""
    known = f"the canary is {before.canary.version}" if before.canary else "there is none"
    return RegistryError(f"version {version!r} is not the canary ({known})")


def not_published(version: str, known: list[str]) -> UnknownVersion:
    """The error for a version that isn't published; it names those that are."""
    shown = ", ".join(known) or "none"
    return UnknownVersion(f"version {version!r} is not published (published: {shown})")
