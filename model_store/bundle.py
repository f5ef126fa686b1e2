"""A bundle: one folder with all files of a version, which are checked against its manifest."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from model_store.array_checks import (
    MAX_COUNT,
    MAX_WEIGHT,
    Pause,
    check_layout,
    check_padding,
    check_range,
    check_unit_rows,
    no_pause,
)
from model_store.attributes import ItemAttributes
from model_store.codecs import UserHistory
from model_store.errors import BundleError, BundleUnavailable
from model_store.event_rules import MAX_TYPES
from model_store.files import hash_file
from model_store.golden import GoldenRatings, GoldenRequest, read_golden, read_golden_ratings
from model_store.held_out import HELD_OUT_FILES
from model_store.histories import Histories, Interactions
from model_store.id_map import IdMap, read_ids
from model_store.knowledge_texts import TEXT_FILES, KnowledgeTexts, TextArrays
from model_store.manifest import FileEntry, Manifest, RatingModelInfo
from model_store.onnx_file import check_graph_file
from model_store.rating_arrays import RATING_FILES, RatingArrays
from model_store.reading import bundle_errors, map_array, read_json
from model_store.signatures import ANY_SIGNER, Trust

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
EVENT_USER_IDS = "event_user_ids.json"
EVENT_OFFSETS = "event_offsets.npy"
EVENT_ITEMS = "event_items.npy"
EVENT_TIMESTAMPS = "event_timestamps.npy"
EVENT_KINDS = "event_kinds.npy"
TEXT_ENCODER = "text_encoder.onnx"
TOKENIZER = "tokenizer.json"
RERANKER = "reranker.onnx"
RERANKER_TOKENIZER = "reranker_tokenizer.json"
USER_VECTORS = "user_vectors.npy"
GOLDEN = "golden.json"
REPORT = "report.json"

REQUIRED = (MODEL, ITEM_TABLE, ITEM_IDS, ATTRIBUTES, POPULARITY, GOLDEN)
KNOWLEDGE = (KNOWLEDGE_VECTORS, FRESH_PROJECTION)
ENCODER = (TEXT_ENCODER, TOKENIZER)
RETRIEVER_FILES = (RETRIEVER, RETRIEVER_LISTS, RETRIEVER_LIST_IDS, RETRIEVER_OUTLIERS)
RERANKER_FILES = (RERANKER, RERANKER_TOKENIZER)
USERS = (USER_IDS, USER_OFFSETS, USER_ITEMS, USER_TIMESTAMPS)
# All interactions with their kinds, where some are not positive or of types of their own: what is
# published. `USERS` are the positive ones alone, for all that reads histories.
TYPED_EVENTS = (EVENT_USER_IDS, EVENT_OFFSETS, EVENT_ITEMS, EVENT_TIMESTAMPS, EVENT_KINDS)


class Bundle:
    """A checked bundle; files are read when first asked for, arrays are memory-mapped."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder = folder
        self.manifest = manifest
        self._arrays: dict[str, npt.NDArray[Any]] = {}  # mapped so far, by name

    @classmethod
    def open(
        cls,
        folder: Path,
        *,
        verify: bool = True,
        pause: Pause = no_pause,
        trust: Trust = ANY_SIGNER,
    ) -> Bundle:
        """Open a bundle.

        Files in the folder that the manifest doesn't name are never read, but for its signature.

        Args:
            folder: the bundle's.
            verify: compare each file's sha256 and check all that is in them, which takes seconds
                where a bundle is large; else only headers and sizes.
            pause: called between steps.
            trust: whose signature the manifest must have.

        Raises:
            BundleUnavailable: a file isn't there, or can't be read now.
            BundleError: anything about it is damaged or inconsistent, or it isn't signed as asked.
        """
        content = Manifest.read(folder / MANIFEST)
        bundle = cls(folder, Manifest.parse(content, folder / MANIFEST))
        trust.check(folder, bundle.version, content)
        bundle._check_names()
        for name, entry in bundle.manifest.files.items():
            bundle._check_size(name, entry)
        if verify:
            for name, entry in bundle.manifest.files.items():
                bundle._check_sum(name, entry, pause)
        bundle._check_layouts()
        if verify:
            bundle.check_contents(pause)
        return bundle

    def _check_names(self) -> None:
        """Check that the manifest lists the files of the parts it describes, and no others."""
        manifest = self.manifest
        has_retriever, has_outliers = False, False
        if manifest.retriever:
            has_retriever, has_outliers = True, manifest.retriever.n_outliers > 0
        has_graph = manifest.encoder is not None and manifest.encoder.has_graph
        is_rating = manifest.kind == "rating"
        has_held_out = is_rating and any(map(self.has, HELD_OUT_FILES))
        has_users = any(map(self.has, USERS)) or is_rating
        expected = {
            **dict.fromkeys(REQUIRED, True),
            **dict.fromkeys(KNOWLEDGE, manifest.encoder is not None),
            **dict.fromkeys(TEXT_FILES, manifest.knowledge is not None),
            **dict.fromkeys(ENCODER, has_graph),
            **dict.fromkeys(RETRIEVER_FILES, has_retriever),
            **dict.fromkeys(USERS, has_users),
            **dict.fromkeys(RATING_FILES, is_rating),
            **dict.fromkeys(HELD_OUT_FILES, has_held_out),  # which the service doesn't read
            **dict.fromkeys(TYPED_EVENTS, bool(manifest.events.types)),
            **dict.fromkeys(
                RERANKER_FILES,
                manifest.reranker is not None and manifest.reranker.graph is not None,
            ),
            USER_VECTORS: manifest.reranker is not None and has_users,
        }
        if has_retriever and not has_outliers:
            del expected[RETRIEVER_OUTLIERS]  # allowed, and not read
        for name, wanted in expected.items():
            if wanted and not self.has(name):
                raise BundleError(f"{self.folder}: {name} is not in the manifest")
            if self.has(name) and not wanted:
                raise BundleError(f"{self.folder / name}: the manifest describes no such part")

    def _check_size(self, name: str, entry: FileEntry) -> None:
        path = self.folder / name
        with bundle_errors(path, "can't be looked at"):
            if not path.is_file():
                raise BundleUnavailable(f"{path}: is in the manifest but not there")
            size_bytes = path.stat().st_size
        if size_bytes != entry.size_bytes:
            raise BundleError(f"{path}: {size_bytes} bytes, the manifest says {entry.size_bytes}")

    def _check_sum(self, name: str, entry: FileEntry, pause: Pause) -> None:
        path = self.folder / name
        with bundle_errors(path, "can't be hashed"):
            found = hash_file(path, pause)
        if found != entry.sha256:
            raise BundleError(f"{path}: sha256 differs from the manifest's")

    def _check_layouts(self) -> None:
        """Type and shape of each array, which its header tells."""
        rows, size = self.manifest.n_items + 1, self.manifest.model.embedding_size
        expected: dict[str, tuple[str, tuple[int, ...]]] = {
            ITEM_TABLE: ("<f4", (rows, size)),
            POPULARITY: ("<f4", (rows,)),
        }
        if self.manifest.encoder:
            vector_size = self.manifest.encoder.vector_size
            expected[KNOWLEDGE_VECTORS] = ("<f4", (rows, vector_size))
            expected[FRESH_PROJECTION] = ("<f4", (vector_size + 1, size))
        if self.manifest.retriever:
            expected[RETRIEVER_LIST_IDS] = ("<u2", (rows,))
            if n_outliers := self.manifest.retriever.n_outliers:
                expected[RETRIEVER_OUTLIERS] = ("<i4", (n_outliers,))
        if self.has(USER_VECTORS):
            expected[USER_VECTORS] = ("<f4", (self.manifest.n_users, size))
        for name, (dtype, shape) in expected.items():
            check_layout(self.folder / name, self._array(name), dtype, shape)
        if self.knowledge_texts.arrays is not None:
            self.knowledge_texts.arrays.check_layouts(self.folder, self.manifest.n_items)
        model = self.manifest.model
        if isinstance(model, RatingModelInfo):
            sizes = self.manifest.n_users, self.manifest.n_items, model.user_size
            self.rating_arrays.check_layouts(self.folder, *sizes)

    def check_contents(self, pause: Pause = no_pause) -> None:
        """Check everything that a request or a golden request depends on.

        Raises:
            BundleUnavailable: a file can't be read now.
            BundleError: a file is wrong; the message names it and the fault.
        """
        for name in (MODEL, TEXT_ENCODER, RERANKER):
            if self.has(name):
                with bundle_errors(self.folder / name, "not a usable graph"):
                    check_graph_file(self.folder / name)
                pause()
        table, counts = self.folder / ITEM_TABLE, self.folder / POPULARITY
        check_range(table, self.item_table, -MAX_WEIGHT, MAX_WEIGHT, pause)
        check_padding(table, self.item_table)
        check_range(counts, self.popularity, 0, MAX_COUNT, pause)
        if self.knowledge_vectors is not None and self.fresh_projection is not None:
            vectors, projection = self.folder / KNOWLEDGE_VECTORS, self.folder / FRESH_PROJECTION
            check_range(projection, self.fresh_projection, -MAX_WEIGHT, MAX_WEIGHT, pause)
            check_range(vectors, self.knowledge_vectors, -MAX_WEIGHT, MAX_WEIGHT, pause)
            check_unit_rows(vectors, self.knowledge_vectors, pause)
            check_padding(vectors, self.knowledge_vectors)
        if self.manifest.knowledge and self.knowledge_texts.arrays is not None:
            n_texts = self.manifest.knowledge.n_texts
            self.knowledge_texts.arrays.check(self.folder, n_texts, pause)
        if self.user_vectors is not None and len(self.user_vectors):
            vectors = self.folder / USER_VECTORS
            check_range(vectors, self.user_vectors, -1.01, 1.01, pause)
            check_unit_rows(vectors, self.user_vectors, pause)
        model = self.manifest.model
        if isinstance(model, RatingModelInfo):
            self.rating_arrays.check(self.folder, (model.lowest, model.highest), pause)
        n_items = self.manifest.n_items
        for name, found in ((ITEM_IDS, len(self.item_ids)), (ATTRIBUTES, self.attributes.n_items)):
            pause()
            if found != n_items:
                raise BundleError(
                    f"{self.folder / name}: {found} items, the manifest says {n_items}"
                )
        _ = self.golden_ratings if self.manifest.kind == "rating" else self.golden
        if self.has(RERANKER_TOKENIZER):
            pause()
            path = self.folder / RERANKER_TOKENIZER
            document = read_json(path, "a tokenizer")
            if not isinstance(document, dict) or not isinstance(document.get("model"), dict):
                raise BundleError(f"{path}: not a tokenizer (it has no model)")

    def _array(self, name: str) -> npt.NDArray[Any]:
        if name not in self._arrays:
            self._arrays[name] = map_array(self.folder / name)
        return self._arrays[name]

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
    def knowledge_texts(self) -> KnowledgeTexts:
        """The texts that a language model wrote about the items; mapped, with none of them read."""
        n_items, info = self.manifest.n_items, self.manifest.knowledge
        if info is None:
            return KnowledgeTexts(n_items)
        return KnowledgeTexts(n_items, info.source, TextArrays.open(self.folder))

    @cached_property
    def fresh_projection(self) -> npt.NDArray[np.float32] | None:
        """float32 [K+1, D]: `[knowledge_vector, 1] @ fresh_projection` is an item_table row."""
        return self._array(FRESH_PROJECTION) if self.has(FRESH_PROJECTION) else None

    @cached_property
    def user_vectors(self) -> npt.NDArray[np.float32] | None:
        """float32 [U, D], rows of unit length (or zeros) in the order of the users; for neighbours.

        None without a reranker, or without users.
        """
        return self._array(USER_VECTORS) if self.has(USER_VECTORS) else None

    @cached_property
    def rating_arrays(self) -> RatingArrays:
        """Those of a bundle of kind rating."""
        return RatingArrays.open(self.folder)

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
        """Requests with their answers, replayed before the bundle may serve."""
        return read_golden(self.folder / GOLDEN, self.item_ids)

    @cached_property
    def golden_ratings(self) -> tuple[GoldenRatings, ...]:
        """Those of a bundle of kind rating."""
        user_ids = frozenset(read_ids(self.folder / USER_IDS))
        return read_golden_ratings(self.folder / GOLDEN, self.item_ids, user_ids)

    def histories(self) -> Histories:
        """Every user's whole history as arrays; empty where the bundle holds no users.

        Raises:
            BundleUnavailable: a file can't be read now.
            BundleError: they are not histories of the bundle's items.
        """
        if not self.has(USER_IDS):
            return Histories.none()
        histories = Histories.open(self.folder, USERS, self.manifest.n_items)
        n_users = self.manifest.n_users
        if len(histories.user_ids) != n_users:
            raise BundleError(
                f"{self.folder / USER_IDS}: {len(histories.user_ids)} users, the manifest says "
                f"{n_users}"
            )
        return histories

    @cached_property
    def n_event_users(self) -> int:
        """Number of users of `all_interactions`."""
        if not self.has(EVENT_OFFSETS):
            return self.manifest.n_users
        return len(self._array(EVENT_OFFSETS)) - 1

    def interactions(self) -> Interactions:
        """All interactions of every user, not only those that are history, and their kinds.

        All of them are read to be checked: who reads several parts opens them once.

        Raises:
            BundleUnavailable: a file can't be read now.
            BundleError: they are not interactions with the bundle's items, of its types.
        """
        if not self.has(EVENT_KINDS):
            return Interactions(self.histories())
        names, n_items = TYPED_EVENTS[:4], self.manifest.n_items
        histories, kinds = Histories.open(self.folder, names, n_items), self._array(EVENT_KINDS)
        path = self.folder / EVENT_KINDS
        check_layout(path, kinds, "<u2", (histories.items.size,))
        n_types = len(self.manifest.events.types)
        if len(kinds) and int((kinds % MAX_TYPES).max()) >= n_types:
            raise BundleError(f"{path}: more types than the {n_types} that the manifest names")
        return Interactions(histories, kinds)

    def all_interactions(self) -> Iterator[tuple[str, UserHistory]]:
        """Every user with all `interactions`."""
        return self.interactions().of()

    def users(self) -> Iterator[tuple[str, UserHistory]]:
        """Every user with the whole history, oldest to newest."""
        return Interactions(self.histories()).of()

    def report(self) -> dict[str, Any]:
        """The offline report of the bundle.

        Raises:
            BundleError: the bundle holds none.
        """
        if not self.has(REPORT):
            raise BundleError(f"{self.folder}: holds no {REPORT}")
        report: dict[str, Any] = read_json(self.folder / REPORT)
        return report
