"""Bundles with a retriever, and the answers of exact scoring to compare with."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from app.model.arrays import FloatArray, IndexArray
from model_store.bundle import Bundle
from model_store.bundle_writer import BundleWriter
from model_store.manifest import RetrieverInfo
from offline.export.retriever import RetrieverSize, build_retriever
from tests.synthetic_bundle import Catalogue, make_bundle, make_catalogue

SIZE = 16
N_ITEMS = 6_000


def make_vectors(n_items: int = N_ITEMS, seed: int = 3) -> tuple[FloatArray, FloatArray]:
    """Clustered rows of differing length [N+1, D], and user vectors [64, D] near the clusters."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(40, SIZE)).astype(np.float32)
    table = centres[rng.integers(0, 40, n_items + 1)] + 0.5 * rng.normal(size=(n_items + 1, SIZE))
    table *= np.exp2(rng.uniform(-1, 1, (n_items + 1, 1)))
    table[0] = 0
    users = 2 * centres[rng.integers(0, 40, 64)] + rng.normal(size=(64, SIZE))
    return table.astype(np.float32), users.astype(np.float32)


def bundle_with_retriever(folder: Path, **changes: object) -> Bundle:
    """A bundle over `make_vectors`; `changes` replace fields of the manifest's retriever."""
    table, users = make_vectors()
    catalogue = make_catalogue(n_items=N_ITEMS, size=SIZE)
    catalogue = Catalogue(**{**catalogue.__dict__, "table": table})
    plain = make_bundle(folder / "plain", catalogue=catalogue, with_encoder=False)
    parts = folder / "parts"
    parts.mkdir()
    info = build_retriever(table, users, parts, RetrieverSize(n_lists=64))
    info = RetrieverInfo.model_validate(info.model_dump() | changes)
    with BundleWriter(folder / "retriever") as writer:
        for name in plain.manifest.files:
            writer.add(name, plain.folder / name)
        for part in parts.iterdir():
            writer.add(part.name, part)
        fields = plain.manifest.model_dump(exclude={"files", "schema_version", "retriever"})
        return writer.finish(retriever=info, **fields)


def best_exactly(
    table: FloatArray,
    user: FloatArray,
    k: int,
    excluded: IndexArray,
    allowed: IndexArray | None = None,
) -> IndexArray:
    """item_indices of the k best by scoring everything, ties to the lower."""
    scores = table @ user
    permitted = np.zeros(len(table), dtype=bool)
    permitted[1:] = allowed is None
    if allowed is not None:
        permitted[allowed] = True
    permitted[excluded] = False
    items = np.flatnonzero(permitted)
    order = np.argsort(-scores[items], kind="stable")
    return items[order[:k]].astype(np.int32)
