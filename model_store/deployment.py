"""The deployment record: the active version, in one document with a generation number.

It is read in one place and changed by compare-and-set (`Registry`), so that all workers and
operators see the same sequence of states, and each change names its author.
"""

from __future__ import annotations

import getpass
import logging
import os
import socket
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from model_store import keys
from model_store.manifest import check_version
from model_store.texts import first_line

log = logging.getLogger(__name__)

MAX_PREVIOUS = 100
MAX_AUDIT = 100


class AuditEntry(BaseModel):
    """One change of the record."""

    model_config = ConfigDict(frozen=True)

    generation: int = Field(description="of the record after the change")
    at: str = Field(description="ISO time, UTC")
    who: str = Field(description="user@host of the process")
    what: str
    why: str = Field(description="origin: a command, or a request to the admin API")


class Deployment(BaseModel):
    """The active version and those before; immutable, each change gives a new record."""

    model_config = ConfigDict(frozen=True)

    generation: int = Field(0, ge=0, description="changes so far")
    active: str | None = Field(None, description="the active version")
    previous: tuple[str, ...] = Field((), description="versions active before, newest first")
    audit: tuple[AuditEntry, ...] = Field((), description="newest first")

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

    def retiring(self, version: str) -> Deployment:
        """The record without a version, which is not active, among the earlier ones."""
        return self._with(self.active, [one for one in self.previous if one != version])

    def _with(self, active: str | None, previous: Sequence[str]) -> Deployment:
        """Rolling back must lead to another version each time."""
        kept: list[str] = []
        for version in previous:
            if version != (kept[-1] if kept else active):
                kept.append(version)
        return self.model_copy(update={"active": active, "previous": tuple(kept[:MAX_PREVIOUS])})

    def changed_from(self, before: Deployment, what: str, why: str) -> Deployment:
        """The next generation after `before`, with an entry in the audit."""
        generation = before.generation + 1
        if self.active != before.active:
            what += f" to {self.active}" if self.active not in what.split() else ""
            what += f", before {before.active}" if before.active else ""
        at = datetime.now(UTC).isoformat(timespec="seconds")
        entry = AuditEntry(generation=generation, at=at, who=_who(), what=what, why=why)
        audit = (entry, *before.audit)[:MAX_AUDIT]
        return self.model_copy(update={"generation": generation, "audit": audit})


class DeploymentReader:
    """Reads the record; invalid values are ignored, with one warning for each."""

    def __init__(self) -> None:
        self._passed_over: dict[str, object] = {}

    def read(
        self, document: bytes | None, active: bytes | None, previous: Sequence[bytes] = ()
    ) -> Deployment:
        """The record in the store; one without an active version if there is none.

        Earlier releases kept the active version and those before it under keys of their own. The
        first change of the record removes these, so if they exist, they are newer.

        Args:
            document: value of keys.DEPLOYMENT.
            active, previous: values of keys.ACTIVE and keys.PREVIOUS.
        """
        record = self._try(keys.DEPLOYMENT, document, lambda: _parse(document))
        older = self._try(keys.ACTIVE, (active, *previous), lambda: _parse_older(active, previous))
        if older.active is None:
            return record
        # In the order of events: versions of the record, then those activated without it.
        for version in (*reversed(older.previous), older.active):
            record = record.activating(version)
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
    for version in filter(None, (record.active, *record.previous)):
        check_version(version)
    return record


def _parse_older(active: bytes | None, previous: Sequence[bytes]) -> Deployment:
    versions = [check_version(version.decode()) for version in previous]
    first = check_version(active.decode()) if active else None
    return Deployment(active=first, previous=tuple(versions))


def _who() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user need not have a name
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"
