"""What is known about one item: its text with provenance, its vector, and the nearest items."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from model_store.bundle import Bundle
from model_store.errors import InputError
from model_store.fresh_items import FreshItem
from model_store.knowledge_texts import KnowledgeText
from offline.progress import Progress

N_NEAR = 5
_ROWS_AT_ONCE = 50_000
# Smaller catalogues are compared at once.
_SHOW_PROGRESS_FROM = 4 * _ROWS_AT_ONCE

Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True)
class NearItem:
    """Another item, with the cosine of the two knowledge vectors."""

    item_id: str
    title: str
    cosine: float


@dataclass(frozen=True)
class ItemDescription:
    """One item.

    Attributes:
        item_id: of the item.
        title: "" where it has none.
        version: that has it.
        is_fresh: it came after training.
        knowledge: what a language model wrote; None: nothing.
        vector_size: K; 0 where the version has no knowledge vectors.
        vector_length: of its vector; 0 for an item without one.
        near: the nearest items, the nearest first; empty without a vector.
    """

    item_id: str
    title: str
    version: str
    is_fresh: bool
    knowledge: KnowledgeText | None
    vector_size: int
    vector_length: float
    near: tuple[NearItem, ...]


def describe_item(item_id: str, bundle: Bundle, fresh: Sequence[FreshItem]) -> ItemDescription:
    """What a version knows about an item.

    Args:
        item_id: of the item.
        bundle: the version's.
        fresh: its fresh items.

    Raises:
        InputError: neither the bundle nor the fresh items have it.
    """
    catalogue = _Catalogue(bundle, [item for item in fresh if item.item_id not in bundle.item_ids])
    row = catalogue.row_of(item_id)
    if row is None:
        others = f" and {len(catalogue.fresh):,} fresh ones" if catalogue.fresh else ""
        raise InputError(
            f"item {item_id!r:.200} is unknown to version {bundle.version!r}, which has "
            f"{len(bundle.item_ids):,} items{others}"
        )
    vector = catalogue.vector_of(row)
    texts = bundle.knowledge_texts.extended([item.knowledge for item in catalogue.fresh])
    return ItemDescription(
        item_id=item_id,
        title=catalogue.title_of(row),
        version=bundle.version,
        is_fresh=row > len(bundle.item_ids),
        knowledge=texts.get(row),
        vector_size=0 if vector is None else len(vector),
        vector_length=0.0 if vector is None else float(np.linalg.norm(vector)),
        near=catalogue.find_near(row),
    )


class _Catalogue:
    """The items of a bundle, and after them fresh ones, by row 1, 2, …"""

    def __init__(self, bundle: Bundle, fresh: Sequence[FreshItem]) -> None:
        self._bundle, self.fresh = bundle, fresh
        self._n = len(bundle.item_ids)

    def row_of(self, item_id: str) -> int | None:
        row = self._bundle.item_ids.index_of(item_id)
        if row is not None:
            return row
        ids = [item.item_id for item in self.fresh]
        return self._n + 1 + ids.index(item_id) if item_id in ids else None

    def id_of(self, row: int) -> str:
        if row > self._n:
            return self.fresh[row - self._n - 1].item_id
        return self._bundle.item_ids.id_of(row)

    def title_of(self, row: int) -> str:
        if row > self._n:
            title = self.fresh[row - self._n - 1].attributes.get("title")
        else:
            title = self._bundle.attributes.row(row, ("title",)).get("title")
        return title if isinstance(title, str) else ""

    def vector_of(self, row: int) -> Vectors | None:
        """float32 [K]; None in a version without knowledge vectors."""
        vectors = self._bundle.knowledge_vectors
        if vectors is None:
            return None
        return self.fresh[row - self._n - 1].vector if row > self._n else vectors[row]

    def find_near(self, row: int) -> tuple[NearItem, ...]:
        """The items whose vectors have the largest cosine with a row's."""
        vector, vectors = self.vector_of(row), self._bundle.knowledge_vectors
        if vector is None or vectors is None or not np.any(vector):
            return ()
        parts = [vectors[at : at + _ROWS_AT_ONCE] for at in range(0, len(vectors), _ROWS_AT_ONCE)]
        if self.fresh:
            parts.append(np.stack([item.vector for item in self.fresh]))
        cosines = np.concatenate(_compare(parts, vector / np.linalg.norm(vector)))
        cosines[[0, row]] = -np.inf  # padding, and the item itself
        nearest = np.argsort(-cosines, kind="stable")[:N_NEAR]
        return tuple(
            NearItem(self.id_of(near), self.title_of(near), float(cosines[near]))
            for near in nearest.tolist()
            if np.isfinite(cosines[near])
        )


def _compare(parts: Sequence[Vectors], direction: Vectors) -> list[Vectors]:
    """Cosines of the rows of each part to a direction of length 1; -inf for rows of zeros."""
    total = sum(map(len, parts))
    if total < _SHOW_PROGRESS_FROM:
        return [_cosines(part, direction) for part in parts]
    found = []
    with Progress("comparing vectors", total, "items") as progress:
        for part in parts:
            found.append(_cosines(part, direction))
            progress.advance(len(part))
    return found


def _cosines(rows: Vectors, direction: Vectors) -> Vectors:
    lengths = np.linalg.norm(rows, axis=1)
    cosines = rows @ direction / np.maximum(lengths, np.float32(1e-12))
    return np.where(lengths > 0, cosines, np.float32(-np.inf))
