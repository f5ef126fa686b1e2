"""Weights that the trainer leaves for the generator: a folder of folders, the newest wins."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from model_store.files import remove_folder

_DIGITS = 9
# One that is replaced may still be being read.
_KEPT = 2


@dataclass(frozen=True)
class Snapshot:
    """The folder of the weights after a number of updates."""

    step: int
    folder: Path


class Snapshots:
    """One side publishes, the other looks for the newest; both open it by its folder.

    Args:
        folder: of the snapshots' folders; made by `begin`.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def begin(self) -> None:
        """Remove all: those of an earlier process may be of updates that no longer count."""
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True)

    def publish(self, step: int, save: Callable[[Path], None]) -> None:
        """Write a snapshot beside the others, rename it, and remove old ones.

        Args:
            step: updates that its weights have had.
            save: writes them into a folder.
        """
        partial = self._folder / f".{step}.partial"
        partial.mkdir()
        save(partial)
        partial.rename(self._folder / f"{step:0{_DIGITS}}")
        for old in self._all()[:-_KEPT]:
            remove_folder(old.folder)

    def newest(self) -> Snapshot | None:
        """The one of the most updates; None before there is one.

        Its folder may be removed while it is read, but only when there are newer ones.
        """
        found = self._all()
        return found[-1] if found else None

    def _all(self) -> list[Snapshot]:
        found = sorted(path for path in self._folder.iterdir() if path.name.isdecimal())
        return [Snapshot(int(path.name), path) for path in found]
