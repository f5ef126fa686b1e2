"""The bundles that a benchmark serves: a given one, or synthetic ones, kept for later runs.

Synthetic bundles come from `python -m offline.synthetic`, run as a child process: this package
knows the offline path by its command only, and a bundle by its plain files.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from loadtest.errors import WorkloadError
from loadtest.hardware import ROOT
from loadtest.memory import available_bytes

# The most that creating and serving an item takes: measured at ten million and rounded up.
DISK_BYTES_PER_ITEM = 1_000
MEMORY_BYTES_PER_ITEM = 1_500
MEMORY_BYTES_FREE = 2 * 1024**3

MAKER = "offline.synthetic"
# The code that a synthetic bundle depends on: when it changes, the bundle is created again.
MAKERS = ("offline/synthetic*.py", "offline/synthetic/*.py", "offline/export/*.py")
HASH_CHARACTERS = 10
RERANKER_MAKERS = ("offline/instruction/*.py", "model_store/rerank*.py")


@dataclass(frozen=True)
class BundleFiles:
    """The files that the benchmark reads in a bundle's folder."""

    folder: Path

    @cached_property
    def item_ids(self) -> list[str]:
        """Item ids in order of their item_index, the first of which is 1."""
        return list(self._json("item_ids.json"))

    @cached_property
    def table(self) -> npt.NDArray[np.float32]:
        """The item table, float32 [N+1, D], mapped and not read; row 0 is padding."""
        try:
            table: npt.NDArray[np.float32] = np.load(
                self.folder / "item_table.npy", mmap_mode="r", allow_pickle=False
            )
        except (OSError, ValueError) as error:
            raise WorkloadError(f"{self.folder}: no item table ({error})") from error
        return table

    @property
    def golden(self) -> list[dict[str, Any]]:
        """Histories with the answers that the model's exact scores give."""
        return list(self._json("golden.json"))

    @property
    def version(self) -> str:
        """The version in the manifest."""
        return str(self._json("manifest.json")["version"])

    @property
    def n_users(self) -> int:
        """The number of stored users."""
        return int(self._json("manifest.json")["n_users"])

    @property
    def tail_interactions(self) -> int:
        """The largest number of interactions of a tail user.

        Raises:
            WorkloadError: the bundle has no reranker.
        """
        reranker = self._json("manifest.json").get("reranker")
        if reranker is None:
            raise WorkloadError(f"{self.folder}: has no reranker")
        return int(reranker["weighting"]["tail_interactions"])

    def find_filter(self, share: float) -> tuple[str, str, npt.NDArray[np.int64]]:
        """Attribute, value and item_indices of the text that comes closest to a share of items.

        Raises:
            WorkloadError: no attribute holds a text that several items have.
        """
        best: tuple[float, str, str] | None = None
        columns = self._columns
        for name, values in columns.items():
            counts = Counter(chain.from_iterable(map(_texts_of, values)))
            for value, count in counts.items():
                distance = abs(count / len(values) - share)
                if count > 1 and (best is None or distance < best[0]):
                    best = (distance, name, value)
        if best is None:
            raise WorkloadError(f"{self.folder}: no attribute has a text that several items share")
        _, name, value = best
        rows = [at for at, found in enumerate(columns[name], start=1) if value in _texts_of(found)]
        return name, value, np.array(rows, dtype=np.int64)

    def values_of(self, attribute: str) -> set[str]:
        """The texts that items have of an attribute of texts or lists."""
        return set(chain.from_iterable(map(_texts_of, self._columns[attribute])))

    @cached_property
    def _columns(self) -> dict[str, list[Any]]:
        """The values of attributes that are texts or lists, by the attribute's name."""
        document = self._json("attributes.json")
        return {
            a["name"]: a["values"] for a in document["attributes"] if a["kind"] in ("text", "list")
        }

    def rows_of(self, item_ids: set[str]) -> dict[str, int]:
        """The item_index of each of some items."""
        return {
            item_id: number
            for number, item_id in enumerate(self.item_ids, start=1)
            if item_id in item_ids
        }

    def _json(self, name: str) -> Any:
        try:
            return json.loads((self.folder / name).read_bytes())
        except (OSError, ValueError) as error:
            raise WorkloadError(f"{self.folder}: {name} can't be read ({error})") from error


class SyntheticBundles:
    """Synthetic bundles by size, in a cache folder."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or cache_folder() / "bench"

    def get(
        self,
        n_items: int,
        *,
        knowledge: bool = True,
        trained: bool = False,
        reranker_layers: int | None = None,
    ) -> Path:
        """The folder of a synthetic bundle; created unless the same code created it before.

        Args:
            n_items: size of the catalogue.
            knowledge: with knowledge vectors.
            trained: with the vectors of a trained model, which takes minutes. Recall depends on
                them; the other costs of a request don't.
            reranker_layers: with a reranker whose language model has so many layers; 0: with one
                for an endpoint.

        Raises:
            WorkloadError: it can't be created.
        """
        kind = ("knowledge" if knowledge else "id-only") + ("-trained" if trained else "")
        makers: tuple[str, ...] = MAKERS
        if reranker_layers is not None:
            kind += f"-reranker{reranker_layers}"
            makers += RERANKER_MAKERS
        folder = self.folder / f"{n_items}-{kind}-{_hash_of(makers)}"
        if (folder / "manifest.json").exists():
            return folder
        self._forget_older(f"{n_items}-{kind}-{'?' * HASH_CHARACTERS}")
        self.folder.mkdir(parents=True, exist_ok=True)
        print(f"creating a bundle of {n_items:,} items in {folder}", file=sys.stderr, flush=True)
        command = [sys.executable, "-m", MAKER, "--items", str(n_items)]
        command += ["--knowledge" if knowledge else "--no-knowledge"]
        command += ["--trained" if trained else "--no-trained", "--out", str(folder)]
        if reranker_layers is not None:
            command += ["--reranker", str(reranker_layers)]
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        done = subprocess.run(
            command, stdout=sys.stderr, env={**os.environ, "PYTHONPATH": path}, check=False
        )
        if done.returncode != 0 or not (folder / "manifest.json").exists():
            raise WorkloadError(
                f"a bundle of {n_items} items can't be created: {MAKER} ended with "
                f"exit code {done.returncode}"
            )
        return folder

    def why_not(self, n_items: int) -> str | None:
        """The reason why this machine can't create and serve so many items, None if it can."""
        self.folder.mkdir(parents=True, exist_ok=True)
        needs = {
            "disk": (n_items * DISK_BYTES_PER_ITEM, shutil.disk_usage(self.folder).free),
            "memory": (
                n_items * MEMORY_BYTES_PER_ITEM + MEMORY_BYTES_FREE,
                available_bytes(),
            ),
        }
        for what, (needed, free) in needs.items():
            if free is not None and free < needed:
                return (
                    f"{n_items:,} items need {needed / 1e9:.1f} GB of {what}, "
                    f"{free / 1e9:.1f} GB are free"
                )
        return None

    def _forget_older(self, pattern: str) -> None:
        for folder in self.folder.glob(pattern):
            shutil.rmtree(folder, ignore_errors=True)


def cache_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """The cache folder: LONGTAIL_CACHE_DIR, else ~/.cache/longtail."""
    return Path(environment.get("LONGTAIL_CACHE_DIR") or "~/.cache/longtail").expanduser()


def _hash_of(patterns: Sequence[str]) -> str:
    digest = hashlib.sha256()
    for pattern in patterns:
        for path in sorted(ROOT.glob(pattern)):
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:HASH_CHARACTERS]


def _texts_of(value: str | Sequence[str] | None) -> Sequence[str]:
    if isinstance(value, str):
        return (value,)
    return value or ()
