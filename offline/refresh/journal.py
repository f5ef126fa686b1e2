"""The steps of a refresh that were done, so that one which was killed goes on where it was."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model_store.errors import InputError
from model_store.files import write_atomically

_FILE, REPORT = "run.json", "report.json"
Result = dict[str, Any]


@dataclass(frozen=True)
class Journal:
    """One refresh: its plan, and the results of its steps, as JSON values.

    Attributes:
        folder: `runs/0001`; a file `report.json` there ends it.
        plan: what was settled at the beginning.
        done: results of steps by name.
    """

    folder: Path
    plan: Result
    done: dict[str, Result]

    @classmethod
    def unfinished(cls, runs: Path) -> Journal | None:
        """The newest refresh, where it has not come to its report.

        Raises:
            InputError: its file can't be read.
        """
        folders = sorted(runs.glob("[0-9]*"))
        if not folders or (folders[-1] / REPORT).is_file():
            return None
        path = folders[-1] / _FILE
        if not path.is_file():  # killed before anything was settled
            return None
        try:
            document = json.loads(path.read_bytes())
            return cls(folders[-1], dict(document["plan"]), dict(document["done"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path}: not as it was written ({error})") from error

    @classmethod
    def begin(cls, runs: Path, plan: Result) -> Journal:
        """Another refresh."""
        numbers = [int(folder.name) for folder in runs.glob("[0-9]*")]
        begun = cls(runs / f"{max(numbers, default=0) + 1:04d}", plan, {})
        begun._write()
        return begun

    @property
    def number(self) -> int:
        """Of the refresh, from 1."""
        return int(self.folder.name)

    def step(self, name: str, work: Callable[[], Result]) -> Result:
        """The result of a step: the one that is there, else that of `work`."""
        if name not in self.done:
            self.done[name] = work()
            self._write()
        return self.done[name]

    def finish(self, report: Result, text: str) -> None:
        """Write the report, which ends the refresh."""
        write_atomically(self.folder / "report.md", text.encode())
        content = json.dumps(report, ensure_ascii=False, indent=1, allow_nan=False)
        write_atomically(self.folder / REPORT, content.encode())

    def _write(self) -> None:
        document = {"plan": self.plan, "done": self.done}
        content = json.dumps(document, ensure_ascii=False, indent=1, allow_nan=False)
        write_atomically(self.folder / _FILE, content.encode())
