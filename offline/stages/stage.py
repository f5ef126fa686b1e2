"""A stage of the offline path: its inputs, its configuration, and the code that makes its result.

A stage runs in a partial folder, which is moved to its place when it is whole. Its fingerprint
covers its name, its code, its configuration and the fingerprints of its inputs; a folder with the
same fingerprint is used again, one with another is replaced. A stage that was killed goes on
with the files in its partial folder, if nothing it depends on has changed.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import ClassVar, Generic, Self, TypeVar

from model_store.errors import ConfigError
from offline.artifact import Artifact, Facts, begin, finish
from offline.engine.local import LocalEngine
from offline.engine.work import Engine, Workplace
from offline.fingerprint import hash_code
from offline.training.group import ALONE, Group, within

Log = Callable[[str], None]
"""Takes lines for the person who waits."""
ArtifactT = TypeVar("ArtifactT", bound=Artifact)


@dataclass(frozen=True)
class Stage(ABC, Generic[ArtifactT]):
    """One step. A subclass is a frozen dataclass; fields that are artifacts are its inputs.

    Attributes:
        name: of the stage and of its folder.
        trains: whether `run` trains by `offline.training.trainer`, which a group's processes do
            together. Each then runs it, and the first one alone writes.
    """

    name: ClassVar[str]
    trains: ClassVar[bool] = False

    @property
    @abstractmethod
    def artifact(self) -> type[ArtifactT]:
        """The class of its result, with the methods that later stages read it by."""

    @property
    def config(self) -> Facts:
        """The choices that decide the result, as JSON values."""
        return {}

    @property
    def inputs(self) -> Mapping[str, str]:
        """Fingerprints of all that it reads, by name."""
        values = [getattr(self, field.name) for field in fields(self)]
        return {value.name: value.fingerprint for value in values if isinstance(value, Artifact)}

    @abstractmethod
    def run(self, folder: Path) -> Facts:
        """Write the result's files into a folder, and return facts worth showing about them."""

    def on(self, engine: Engine) -> Self:  # noqa: ARG002 - for stages that have work for one
        """This stage, with work for an engine done by that one."""
        return self

    def planned(self, root: Path) -> ArtifactT:
        """The artifact that a run below `root` will leave: its place and fingerprint, no files.

        Later stages can be planned with it.
        """
        return self.artifact(root / self.name, self.fingerprint(), {})

    def is_current(self, root: Path) -> bool:
        """Whether the artifact below `root` is the one that a run would leave."""
        known = self.artifact.read(root / self.name)
        return known is not None and known.fingerprint == self.fingerprint()

    def fingerprint(self) -> str:
        """sha256 in hex over everything that decides the result."""
        document = {
            "name": self.name,
            "code": hash_code(type(self).__module__),
            "config": self.config,
            "inputs": dict(self.inputs),
        }
        return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class EngineStage(Stage[ArtifactT]):
    """A stage of which some work runs on an engine.

    Attributes:
        engine: runs it; results are the same on all, so its fingerprint doesn't cover it.
    """

    engine: Engine = field(default=LocalEngine(1), kw_only=True)

    def on(self, engine: Engine) -> Self:
        """See `Stage.on`."""
        return replace(self, engine=engine)

    @contextmanager
    def workplace(self, folder: Path) -> Iterator[Workplace | None]:
        """The engine with a folder, which goes when the work is done; None for this process."""
        yield None if self.engine == LocalEngine(1) else Workplace(self.engine, folder)
        shutil.rmtree(folder, ignore_errors=True)


def _shown(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def run_stage(
    stage: Stage[ArtifactT], root: Path, log: Log = print, group: Group = ALONE
) -> ArtifactT:
    """The stage's artifact: the one at `root/<name>` if it is current, else a new one.

    Of a group's processes the first one looks, runs the stage and moves its folder, and the others
    wait, or train along.

    Raises:
        ConfigError: the processes don't see the same files.
    """
    place, fingerprint = root / stage.name, stage.fingerprint()
    artifact = _artifact_at(place, stage, fingerprint)
    if group.first(artifact is not None):
        log(f"{stage.name}: unchanged")
    elif group.leads:
        artifact = _make(stage, place, fingerprint, log, group)
        group.wait()
    else:
        group.wait()
        if stage.trains:
            with within(group):
                stage.run(begin(place, fingerprint))
        group.wait()
        artifact = _artifact_at(place, stage, fingerprint)
    if artifact is None:
        raise ConfigError(
            f"{stage.name}: process {group.rank} doesn't see {place} as the first process left it; "
            "all processes need one folder"
        )
    return artifact


def _artifact_at(place: Path, stage: Stage[ArtifactT], fingerprint: str) -> ArtifactT | None:
    known = stage.artifact.read(place)
    return known if known and known.fingerprint == fingerprint else None


def _make(
    stage: Stage[ArtifactT], place: Path, fingerprint: str, log: Log, group: Group
) -> ArtifactT:
    """Run a stage in a partial folder, which is moved to its place."""
    log(f"{stage.name}: running")
    partial = begin(place, fingerprint)
    group.wait()
    started_s = time.perf_counter()
    with within(group if stage.trains else ALONE):
        facts = dict(stage.run(partial))
    facts["seconds"] = round(time.perf_counter() - started_s, 2)
    finish(partial, place, facts)
    shown = ", ".join(
        f"{name} {_shown(value)}" for name, value in facts.items() if name != "seconds"
    )
    log(f"{stage.name}: done in {facts['seconds']:.1f} s{': ' + shown if shown else ''}")
    return stage.artifact(place, fingerprint, facts)
