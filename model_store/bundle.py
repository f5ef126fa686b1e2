"""A bundle: one folder that holds all a version needs to answer, and can prove it is whole."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from model_store.attributes import ItemAttributes
from model_store.codecs import UserHistory
from model_store.errors import BundleError
from model_store.files import hash_file
from model_store.id_map import IdMap
from model_store.manifest import FileEntry, Manifest, RetrieverInfo

MANIFEST = "manifest.json"
MODEL = "model.onnx"
ITEM_TABLE = "item_table.npy"
ITEM_IDS = "item_ids.json"
ATTRIBUTES = "attributes.json"
POPULARITY = "popularity.npy"
KNOWLEDGE_VECTORS = "knowledge_vectors.npy"
FRESH_PROJECTION = "fresh_projection.npy"
RETRIEVER = "retriever.faiss"
RETRIEVER_LISTS = "retriever_lists.bin"
RETRIEVER_LIST_IDS = "retriever_list_ids.npy"
RETRIEVER_OUTLIERS = "retriever_outliers.npy"
USER_IDS = "user_ids.json"
USER_OFFSETS = "user_offsets.npy"
USER_ITEMS = "user_items.npy"
USER_TIMESTAMPS = "user_timestamps.npy"
TEXT_ENCODER = "text_encoder.onnx"
TOKENIZER = "tokenizer.json"
GOLDEN = "golden.json"
REPORT = "report.json"

REQUIRED = (MODEL, ITEM_TABLE, ITEM_IDS, ATTRIBUTES, POPULARITY, GOLDEN)
RETRIEVER_FILES = (RETRIEVER, RETRIEVER_LISTS, RETRIEVER_LIST_IDS, RETRIEVER_OUTLIERS)
USERS = (USER_IDS, USER_OFFSETS, USER_ITEMS, USER_TIMESTAMPS)


@dataclass(frozen=True)
class GoldenRequest:
    """A request with the answer the bundle gave when it was made; seen items excluded."""

    history: tuple[str, ...]
    k: int
    item_ids: tuple[str, ...]
    scores: tuple[float, ...]


@dataclass(frozen=True)
class Histories:
    """All users' histories; row u is `offsets[u]:offsets[u + 1]`, oldest to newest.

    user_ids: external ids. offsets: int64 [U + 1]. items: int32, item_index. timestamps: float64,
    unix seconds.
    """

    user_ids: list[str]
    offsets: npt.NDArray[np.int64]
    items: npt.NDArray[np.int32]
    timestamps: npt.NDArray[np.float64]


class Bundle:
    """A checked bundle; files are read when first asked for, arrays are memory-mapped."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder = folder
        self.manifest = manifest

    @classmethod
    def open(cls, folder: Path, *, verify: bool = True) -> Bundle:
        """Open a bundle; with `verify`, every file's size and sha256 are compared first.

        Raises:
            BundleError: anything about it is missing, damaged or inconsistent.
        """
        bundle = cls(folder, Manifest.load(folder / MANIFEST))
        files = bundle.manifest.files
        for name in REQUIRED + _retriever_files(bundle.manifest.retriever):
            if name not in files:
                raise BundleError(f"{folder}: {name} is not in the manifest")
        for name, entry in files.items():
            bundle._check_file(name, entry, verify=verify)
        bundle._check_shapes()
        return bundle

    def _check_file(self, name: str, entry: FileEntry, *, verify: bool) -> None:
        path = self.folder / name
        if not path.is_file():
            raise BundleError(f"{path}: is in the manifest but not there")
        size_bytes = path.stat().st_size
        if size_bytes != entry.size_bytes:
            raise BundleError(f"{path}: {size_bytes} bytes, the manifest says {entry.size_bytes}")
        if verify and hash_file(path) != entry.sha256:
            raise BundleError(f"{path}: sha256 differs from the manifest's")

    def _check_shapes(self) -> None:
        rows, size = self.manifest.n_items + 1, self.manifest.model.embedding_size
        expected: dict[str, tuple[int, ...]] = {ITEM_TABLE: (rows, size), POPULARITY: (rows,)}
        if self.manifest.encoder:
            vector_size = self.manifest.encoder.vector_size
            expected[KNOWLEDGE_VECTORS] = (rows, vector_size)
            expected[FRESH_PROJECTION] = (vector_size + 1, size)
        if self.manifest.retriever:
            expected[RETRIEVER_LIST_IDS] = (rows,)
            if n_outliers := self.manifest.retriever.n_outliers:
                expected[RETRIEVER_OUTLIERS] = (n_outliers,)
        for name, shape in expected.items():
            if (array := self._array(name)).shape != shape:
                raise BundleError(f"{self.folder / name}: shape {array.shape}, expected {shape}")
        if len(self.item_ids) != self.manifest.n_items:
            raise BundleError(
                f"{self.folder / ITEM_IDS}: {len(self.item_ids)} ids, "
                f"the manifest says {self.manifest.n_items}"
            )

    def _array(self, name: str) -> npt.NDArray[Any]:
        try:
            return np.load(self.folder / name, mmap_mode="r", allow_pickle=False)  # type: ignore[no-any-return]
        except (OSError, ValueError) as error:
            raise BundleError(f"{self.folder / name}: not a readable array ({error})") from error

    def _json(self, name: str) -> Any:
        try:
            return json.loads((self.folder / name).read_bytes())
        except (OSError, ValueError) as error:
            raise BundleError(f"{self.folder / name}: not readable JSON ({error})") from error

    def has(self, name: str) -> bool:
        """Whether the bundle holds this file."""
        return name in self.manifest.files

    @property
    def version(self) -> str:
        """The version in the manifest."""
        return self.manifest.version

    @cached_property
    def item_ids(self) -> IdMap:
        """External item ids of rows 1..N."""
        return IdMap.load(self.folder / ITEM_IDS)

    @cached_property
    def attributes(self) -> ItemAttributes:
        """Item attributes, aligned with item_index 1..N."""
        return ItemAttributes.load(self.folder / ATTRIBUTES)

    @cached_property
    def item_table(self) -> npt.NDArray[np.float32]:
        """float32 [N+1, D], row 0 zeros; memory-mapped and read-only."""
        return self._array(ITEM_TABLE)

    @cached_property
    def popularity(self) -> npt.NDArray[np.float32]:
        """float32 [N+1], training interactions of each item."""
        return self._array(POPULARITY)

    @cached_property
    def knowledge_vectors(self) -> npt.NDArray[np.float32] | None:
        """float32 [N+1, K], rows of unit length, row 0 zeros; None without an encoder."""
        return self._array(KNOWLEDGE_VECTORS) if self.has(KNOWLEDGE_VECTORS) else None

    @cached_property
    def fresh_projection(self) -> npt.NDArray[np.float32] | None:
        """float32 [K+1, D]: `[knowledge_vector, 1] @ fresh_projection` is an item_table row."""
        return self._array(FRESH_PROJECTION) if self.has(FRESH_PROJECTION) else None

    @cached_property
    def retriever_list_ids(self) -> npt.NDArray[np.uint16] | None:
        """uint16 [N+1], the retriever's list that each item is in; None without a retriever."""
        return self._array(RETRIEVER_LIST_IDS) if self.has(RETRIEVER_LIST_IDS) else None

    @cached_property
    def retriever_outliers(self) -> npt.NDArray[np.int32]:
        """int32 [n_outliers], sorted item_indices that are in none of the retriever's lists."""
        info = self.manifest.retriever
        if info is None or not info.n_outliers:
            return np.empty(0, dtype=np.int32)
        return self._array(RETRIEVER_OUTLIERS)

    @cached_property
    def golden(self) -> tuple[GoldenRequest, ...]:
        """Requests with their answers, replayed before the bundle may serve.

        Raises:
            BundleError: a golden request is malformed, or there is none.
        """
        try:
            golden = tuple(
                GoldenRequest(
                    tuple(entry["history"]),
                    int(entry["k"]),
                    tuple(entry["item_ids"]),
                    tuple(map(float, entry["scores"])),
                )
                for entry in self._json(GOLDEN)
            )
        except (KeyError, TypeError, ValueError) as error:
            raise BundleError(f"{self.folder / GOLDEN}: malformed ({error!r})") from error
        if not golden:
            raise BundleError(f"{self.folder / GOLDEN}: holds no golden request")
        return golden

    def histories(self) -> Histories:
        """Every user's whole history as arrays; empty where the bundle holds no users."""
        if not self.has(USER_IDS):
            empty = np.zeros(0, dtype=np.int64)
            return Histories([], np.zeros(1, np.int64), empty.astype(np.int32), empty.astype(float))
        return Histories(
            self._json(USER_IDS),
            self._array(USER_OFFSETS),
            self._array(USER_ITEMS),
            self._array(USER_TIMESTAMPS),
        )

    def users(self) -> Iterator[tuple[str, UserHistory]]:
        """Every user with the whole history, oldest to newest."""
        histories = self.histories()
        for row, user_id in enumerate(histories.user_ids):
            span = slice(int(histories.offsets[row]), int(histories.offsets[row + 1]))
            yield user_id, UserHistory(histories.items[span], histories.timestamps[span])

    def report(self) -> dict[str, Any]:
        """The offline report that was made with the bundle.

        Raises:
            BundleError: the bundle holds none.
        """
        if not self.has(REPORT):
            raise BundleError(f"{self.folder}: holds no {REPORT}")
        report: dict[str, Any] = self._json(REPORT)
        return report

    def copy_to(self, folder: Path, *, version: str | None = None) -> Bundle:
        """Copy the bundle (hard links where the disk allows), under another version if given.

        Raises:
            BundleError: there is something at `folder` already.
        """
        with BundleWriter(folder) as writer:
            for name in self.manifest.files:
                writer.add(name, self.folder / name)
            fields = self.manifest.model_dump(exclude={"files", "version", "schema_version"})
            return writer.finish(version=version or self.version, **fields)


def _retriever_files(info: RetrieverInfo | None) -> tuple[str, ...]:
    """What must be there; an index without outliers has no file of them."""
    if info is None:
        return ()
    return RETRIEVER_FILES if info.n_outliers else RETRIEVER_FILES[:-1]


class BundleWriter:
    """Writes a bundle beside its place and moves it there when it is whole.

        with BundleWriter(folder) as writer:
            writer.add("model.onnx", path)
            writer.write("golden.json", lambda path: path.write_text(...))
            bundle = writer.finish(version=..., model=..., ...)

    Left without `finish`, nothing stays behind.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._partial = folder.with_name(f".{folder.name}.{os.getpid()}.partial")

    def __enter__(self) -> BundleWriter:
        if self.folder.exists():
            raise BundleError(f"{self.folder}: there is a bundle already")
        shutil.rmtree(self._partial, ignore_errors=True)
        self._partial.mkdir(parents=True)
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._partial, ignore_errors=True)

    def add(self, name: str, source: Path) -> None:
        """Put a file in: a hard link where possible, else a copy."""
        target = self._partial / name
        try:
            os.link(source, target)
        except OSError:
            shutil.copyfile(source, target)

    def write(self, name: str, write: Callable[[Path], object]) -> None:
        """Have a function write the file `name`."""
        write(self._partial / name)

    def finish(self, *, version: str, **fields: Any) -> Bundle:
        """Hash the files, write the manifest, check the whole and move it into place.

        `fields` are the manifest's other fields.

        Raises:
            BundleError: a required file is missing or shapes don't fit.
        """
        files = {
            path.name: FileEntry(sha256=hash_file(path), size_bytes=path.stat().st_size)
            for path in sorted(self._partial.iterdir())
        }
        Manifest(version=version, files=files, **fields).save(self._partial / MANIFEST)
        Bundle.open(self._partial, verify=False)
        self._partial.replace(self.folder)
        return Bundle.open(self.folder, verify=False)
