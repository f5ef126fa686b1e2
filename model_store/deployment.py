"""The deployment record: who answers whom, in one document with a generation.

It is read in one place and changed by compare-and-set (`Registry`), so that all workers and
operators see the same sequence of states, and each change names its author.
"""

from __future__ import annotations

import getpass
import logging
import os
import secrets
import socket
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from model_store import keys
from model_store.errors import UnknownExperiment
from model_store.experiment import Experiment
from model_store.manifest import check_version
from model_store.rules import Rule, RuleSet
from model_store.suggestion import did_you_mean
from model_store.texts import first_line

log = logging.getLogger(__name__)

MAX_PREVIOUS = 100
MAX_AUDIT = 100


class AuditEntry(BaseModel):
    """One change of the record."""

    model_config = ConfigDict(frozen=True)

    generation: int = Field(description="of the record after the change")
    at: str = Field(description="ISO time, UTC")
    who: str = Field(description="user@host of a command or service; an operator's token by its id")
    what: str
    why: str = Field(description="origin: a command, or a request to the admin API")


class Canary(BaseModel):
    """A version that answers a share of the users."""

    model_config = ConfigDict(frozen=True)

    version: str
    percent: float = Field(gt=0, le=100, description="share of the users that it answers")
    salt: str = Field(description="hashed with a user's id, so that each canary has other users")
    since: str = Field(description="ISO time, UTC")
    epoch: str = Field(
        "",
        description="identifies the time since it, its share and the active version are the same",
    )


class Shadow(BaseModel):
    """A version that answers a share of the requests after the answer, for comparison only."""

    model_config = ConfigDict(frozen=True)

    version: str
    share: float = Field(gt=0, le=100, description="of the requests, in per cent")
    since: str = Field(description="ISO time, UTC")


class Deployment(BaseModel):
    """Which versions answer whom; immutable, each change gives a new record."""

    model_config = ConfigDict(frozen=True)

    generation: int = Field(0, ge=0, description="changes so far")
    answering_since: int = Field(
        0, ge=0, description="generation in which who answers whom changed last; 0: not known"
    )
    active: str | None = Field(None, description="the active version")
    previous: tuple[str, ...] = Field((), description="versions active before, newest first")
    canary: Canary | None = None
    shadow: Shadow | None = None
    experiments: tuple[Experiment, ...] = Field(
        (), description="the one that runs, and those that ended lately; newest first"
    )
    rules: RuleSet = Field(RuleSet(), description="what operators hide, boost, pin and cap")
    audit: tuple[AuditEntry, ...] = Field((), description="newest first")

    @property
    def is_deactivated(self) -> bool:
        """Whether its name is in use no more; of no use for the default, which is always there."""
        return self.active is None and self.generation > 0

    @property
    def versions(self) -> tuple[str, ...]:
        """All versions that a worker must have loaded, the active one first."""
        others = [one.version for one in (self.canary, self.shadow) if one is not None]
        others += self.experiment.versions if self.experiment else ()
        return tuple(dict.fromkeys(version for version in (self.active, *others) if version))

    @property
    def answering(self) -> frozenset[str | None]:
        """Versions that answer some of the users."""
        canary = self.canary.version if self.canary else None
        arms = self.experiment.versions if self.experiment else ()
        return frozenset((self.active, canary, *arms))

    @property
    def split(self) -> tuple[str | None, str, str]:
        """What tells who answers whom: active version, epoch of the canary, running experiment."""
        epoch = self.canary.epoch if self.canary else ""
        return self.active, epoch, self.experiment.name if self.experiment else ""

    @property
    def experiment(self) -> Experiment | None:
        """The experiment that runs."""
        return next((one for one in self.experiments if one.stopped is None), None)

    @property
    def kept_experiments(self) -> tuple[Experiment, ...]:
        """The experiment that runs, and those whose figures are still kept; newest first."""
        return tuple(one for one in self.experiments if one.is_kept())

    def find_experiment(self, name: str) -> Experiment:
        """The experiment of this name, running or ended lately.

        Raises:
            UnknownExperiment: there is none; the message names those that are.
        """
        kept = self.kept_experiments
        for one in kept:
            if one.name == name:
                return one
        names = [one.name for one in kept]
        hint = did_you_mean(name, names) or f" (experiments: {', '.join(names) or 'none'})"
        raise UnknownExperiment(f"there is no experiment {name[:64]!r}{hint}")

    def starting(self, experiment: Experiment) -> Deployment:
        """The record with another experiment, where none runs."""
        kept = (experiment, *self.kept_experiments)
        after = self.model_copy(update={"experiments": kept})
        return after._without_needless_shadow()

    def stopping(self, name: str) -> Deployment:
        """The record with the end of an experiment."""
        experiments = tuple(
            one.model_copy(update={"stopped": now()}) if one.name == name else one
            for one in self.kept_experiments
        )
        return self.model_copy(update={"experiments": experiments})

    def ruled(self, rules: Sequence[Rule], by: str) -> Deployment:
        """The record with other rules; itself, if they are the same and it is no new one.

        A store that was emptied has none: until there is one, services go on with their last rules.
        """
        if self.generation and tuple(rules) == self.rules.rules:
            return self
        new = RuleSet(revision=self.generation + 1, since=now(), who=by, rules=tuple(rules))
        return self.model_copy(update={"rules": new})

    def activating(self, version: str) -> Deployment:
        """The record with another version active; itself, if that is active already."""
        if version == self.active:
            return self
        left = (self.active,) if self.active else ()
        return self._with(version, (*left, *self.previous))

    def rolling_back(self, published: Collection[str]) -> Deployment | None:
        """The record with the last earlier version that is still published; None if none is."""
        for place, version in enumerate(self.previous):
            if version in published and version != self.active:
                return self._with(version, self.previous[place + 1 :])
        return None

    def deactivating(self) -> Deployment:
        """The record without an active version, and without what is compared with it."""
        experiment = self.experiment
        after = self.stopping(experiment.name) if experiment else self
        left = (self.active,) if self.active else ()
        after = after.model_copy(update={"canary": None, "shadow": None})
        return after._with(None, (*left, *self.previous))

    def retiring(self, version: str) -> Deployment:
        """The record without a version, which is not active, among the earlier ones."""
        return self._with(self.active, [one for one in self.previous if one != version])

    def trying(self, version: str, percent: float) -> Deployment:
        """The record with a canary; another percentage for the same one keeps its users.

        Args:
            version: not the active one.
            percent: 0 to 100; 0 ends the canary.
        """
        canary: Canary | None = None
        if percent > 0:
            canary = self.canary
            if canary is None or canary.version != version:
                canary = Canary(
                    version=version, percent=percent, salt=secrets.token_hex(8), since=now()
                )
            canary = canary.model_copy(update={"percent": percent, "epoch": secrets.token_hex(8)})
        return self.model_copy(update={"canary": canary})._without_needless_shadow()

    def shadowing(self, version: str, share: float) -> Deployment:
        """The record with a shadow; another share for the same one keeps its beginning.

        Args:
            version: one that answers nobody.
            share: 0 to 100; 0 ends the shadow.
        """
        shadow: Shadow | None = None
        if share > 0:
            is_same = self.shadow is not None and self.shadow.version == version
            since = self.shadow.since if self.shadow and is_same else now()
            shadow = Shadow(version=version, share=share, since=since)
        return self.model_copy(update={"shadow": shadow})

    def _without_needless_shadow(self) -> Deployment:
        """A version that answers users needs no shadow."""
        if self.shadow is None or self.shadow.version not in self.answering:
            return self
        return self.model_copy(update={"shadow": None})

    def _with(self, active: str | None, previous: Sequence[str]) -> Deployment:
        """Rolling back must lead to another version each time."""
        kept: list[str] = []
        for version in previous:
            if version != (kept[-1] if kept else active):
                kept.append(version)
        canary = self.canary
        if canary is not None and active != self.active:
            new = {"epoch": secrets.token_hex(8)}
            canary = None if canary.version == active else canary.model_copy(update=new)
        changes = {"active": active, "previous": tuple(kept[:MAX_PREVIOUS]), "canary": canary}
        return self.model_copy(update=changes)._without_needless_shadow()

    def changed_from(self, before: Deployment, what: str, by: str, why: str) -> Deployment:
        """The next generation after `before`, with an entry in the audit."""
        generation = before.generation + 1
        if self.active != before.active:
            is_said = self.active is None or self.active in what.split()
            what += "" if is_said else f" to {self.active}"
            what += f", before {before.active}" if before.active else ""
        entry = AuditEntry(generation=generation, at=now(), who=by, what=what, why=why)
        audit = (entry, *before.audit)[:MAX_AUDIT]
        since = before.answering_since if self.split == before.split else generation
        changes = {"generation": generation, "answering_since": since, "audit": audit}
        return self.model_copy(update=changes)


class DeploymentReader:
    """Reads the record; invalid values are ignored, with one warning for each.

    Args:
        key: of the record, for warnings.
    """

    def __init__(self, key: str = keys.DEPLOYMENT) -> None:
        self._key = key
        self._passed_over: dict[str, object] = {}
        self._last: tuple[bytes, Deployment] | None = None

    def read(
        self, document: bytes | None, active: bytes | None, previous: Sequence[bytes] = ()
    ) -> Deployment:
        """The record in the store; one without an active version if there is none.

        Earlier releases kept the active version and those before it under keys of their own. The
        first change of the record removes these, so if they exist, they are newer.

        Args:
            document: value of the record's key.
            active, previous: values of keys.ACTIVE and keys.PREVIOUS.
        """
        record = self._read_record(document)
        older = self._try(keys.ACTIVE, (active, *previous), lambda: _parse_older(active, previous))
        if older.active is None:
            return record
        # In the order of events: versions of the record, then those activated without it.
        for version in (*reversed(older.previous), older.active):
            record = record.activating(version)
        return record

    def _read_record(self, document: bytes | None) -> Deployment:
        """The record; one with many rules takes milliseconds to parse, so the last one is kept."""
        if self._last is not None and self._last[0] == document:
            return self._last[1]
        record = self._try(self._key, document, lambda: _parse(document))
        if document is not None:
            self._last = (document, record)
        return record

    def _try(self, key: str, content: object, parse: Callable[[], Deployment]) -> Deployment:
        try:
            return parse()
        except ValueError as error:
            if self._passed_over.get(key) != content:
                self._passed_over[key] = content
                log.warning("ignoring %s: %s", key, first_line(error))
            return Deployment()


def _parse(document: bytes | None) -> Deployment:
    if document is None:
        return Deployment()
    try:
        record = Deployment.model_validate_json(document)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]["msg"]
        raise ValueError(f"it holds no deployment record ({problem})") from None
    for version in (*record.versions, *record.previous):
        check_version(version)
    return record


def _parse_older(active: bytes | None, previous: Sequence[bytes]) -> Deployment:
    versions = [check_version(version.decode()) for version in previous]
    first = check_version(active.decode()) if active else None
    return Deployment(active=first, previous=tuple(versions))


def now() -> str:
    """The time as the record writes it: ISO, UTC, whole seconds."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def who() -> str:
    """The person or service of this process, as `user@host`."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user need not have a name
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"
