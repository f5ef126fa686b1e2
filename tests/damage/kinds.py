"""A kind of damage to a bundle."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from model_store.files import hash_file

Change = Callable[[Path], None]


@dataclass(frozen=True)
class Damage:
    """One kind.

    Attributes:
        name: of the kind.
        change: made in the folder of a bundle.
        is_built_so: the manifest's sums are made to agree.
    """

    name: str
    change: Change
    is_built_so: bool = True

    def apply(self, folder: Path) -> None:
        """Damage the bundle in a folder."""
        self.change(folder)
        if self.is_built_so:
            restate(folder)


def restate(folder: Path) -> None:
    """Make the manifest state the files that are there."""
    try:
        document = json.loads((folder / "manifest.json").read_bytes())
        names = [name for name in document["files"] if (folder / name).is_file()]
    except (OSError, ValueError, RecursionError, KeyError, TypeError):
        return  # the damage is to the manifest itself
    for name in names:
        path = folder / name
        document["files"][name] = {"sha256": hash_file(path), "size_bytes": path.stat().st_size}
    (folder / "manifest.json").write_text(json.dumps(document))


def content_is(name: str, content: bytes) -> Change:
    def apply(folder: Path) -> None:
        (folder / name).write_bytes(content)

    return apply
