"""The index for large catalogues: built from the item table, measured on user vectors.

Inverted lists around L2 centres, whose items are ranked by inner product: item norms differ
widely, and centres of unit length (spherical k-means, faiss's own choice for inner products) mix
items of all norms, which takes more lists for the same recall. Items are coded as 4 bits for each
`D / sub-quantizers` numbers of the residual from the centre, to be scanned from registers (Andre et
al., 2017).

A few items lie far from every centre. Their codes are imprecise, and their lists rank low: on a
million items trained here, these few thousand cause most of the effort of finding the best
thousand. They are kept out of the lists, and always scored.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt

from model_store import bundle as files
from model_store.errors import InputError
from model_store.files import save_array, write_atomically
from model_store.lists import measure_list_stds
from model_store.manifest import RetrieverInfo
from offline.export.probes import Lists, measure_probes
from offline.progress import Progress

Vectors = npt.NDArray[np.float32]

_MAX_QUERIES = 500
_FEWEST_ITEMS = 1_000
_MAX_LISTS = 1 << 13  # every item is compared with every centre once: at 10M items minutes
_SAMPLES_PER_LIST = 40
_ITERATIONS = 10
_CHUNK_ROWS = 1 << 17
_BLOCK_ITEMS = 32
# Rows that are always scored, and at most this share of a small catalogue. Four times as many halve
# the search for a thousand, but in a service they are out of the cache: .3 ms a request.
_OUTLIER_BYTES, _OUTLIER_SHARE = 1 * 1024**2, 1 / 50


@dataclass(frozen=True)
class RetrieverSize:
    """Settings of an index.

    Attributes:
        n_lists: clusters; None to choose by the number of items.
        sub_quantizers: 4-bit parts of a code; None for one a number.
        seed: of samples and centres.
    """

    n_lists: int | None = None
    sub_quantizers: int | None = None
    seed: int = 0


def build_retriever(
    table: Vectors, users: Vectors, folder: Path, size: RetrieverSize | None = None
) -> RetrieverInfo:
    """Write the retriever's files into a folder; returns the manifest's entry.

    Args:
        table: float32 [N+1, D]; a memory map will do. Row 0 is padding and stays out.
        users: float32 [Q, D], vectors of real histories, on which the probes are measured.
        folder: output folder.
        size: settings; None for the defaults.

    Raises:
        InputError: there are too few items for lists, or no user vector.
    """
    size = size or RetrieverSize()
    n_items = len(table) - 1
    if n_items < _FEWEST_ITEMS:
        raise InputError(f"a retriever needs at least {_FEWEST_ITEMS} items, not {n_items}")
    if not len(users):
        raise InputError("a retriever is measured on user vectors, and there is none")
    n_lists = size.n_lists or suit_lists(n_items)
    index = _train(table, n_lists, size)
    _add(index, table)
    _rank_by_inner_product(index)
    list_ids = _find_list_ids(index, n_items)
    outliers = _take_outliers(index, table, list_ids)
    _write_lists(index, folder)
    save_array(folder / files.RETRIEVER_LIST_IDS, list_ids)
    save_array(folder / files.RETRIEVER_OUTLIERS, outliers)
    users = _some(users, _MAX_QUERIES, size.seed)
    probes, wide_probes = measure_probes(_describe(index, table, list_ids, outliers), table, users)
    _write_index(index, folder)
    return RetrieverInfo(
        n_lists=n_lists,
        code_bytes=index.code_size,
        n_outliers=len(outliers),
        probes=probes,
        wide_probes=wide_probes,
        n_queries=len(users),
    )


def suit_lists(n_items: int) -> int:
    """About four times the root of the number of items, as a power of two."""
    return min(_MAX_LISTS, 1 << round(math.log2(4 * math.sqrt(n_items))))


def _some(rows: Vectors, count: int, seed: int) -> Vectors:
    """At most `count` of the rows, drawn at random, in their order."""
    if len(rows) <= count:
        return np.ascontiguousarray(rows)
    chosen = np.random.default_rng(seed).choice(len(rows), count, replace=False)
    return np.ascontiguousarray(rows[np.sort(chosen)])


def _train(table: Vectors, n_lists: int, size: RetrieverSize) -> Any:
    """An empty index: centres by k-means, then codebooks of the residuals."""
    dimension = table.shape[1]
    rng = np.random.default_rng(size.seed)
    n_samples = min(len(table) - 1, _SAMPLES_PER_LIST * n_lists)
    chosen = np.sort(rng.choice(len(table) - 1, n_samples, replace=False)) + 1
    sample = np.ascontiguousarray(table[chosen])
    centres = sample[np.sort(rng.choice(n_samples, n_lists, replace=False))]
    with Progress("clustering", _ITERATIONS + 1, "pass") as progress:
        for _ in range(_ITERATIONS):
            step = faiss.Kmeans(
                dimension,
                n_lists,
                niter=1,
                seed=size.seed + 1,
                min_points_per_centroid=1,
                max_points_per_centroid=_SAMPLES_PER_LIST,
            )
            step.train(sample, init_centroids=centres)
            centres = step.centroids
            progress.advance()
        quantizer = faiss.IndexFlatL2(dimension)
        quantizer.add(centres)
        parts = size.sub_quantizers or dimension
        index = faiss.IndexIVFPQFastScan(
            quantizer, dimension, n_lists, parts, 4, faiss.METRIC_INNER_PRODUCT, _BLOCK_ITEMS
        )
        index.own_fields = True
        quantizer.this.disown()
        index.by_residual = True
        index.train(sample)
        progress.advance(note="codes")
    return index


def _add(index: Any, table: Vectors) -> None:
    with Progress("indexing", len(table) - 1, "item") as progress:
        for start in range(1, len(table), _CHUNK_ROWS):
            rows = np.ascontiguousarray(table[start : start + _CHUNK_ROWS])
            index.add_with_ids(rows, np.arange(start, start + len(rows)))
            progress.advance(len(rows))


def _rank_by_inner_product(index: Any) -> None:
    """Replace the search by distance, which assigned items, by one that ranks lists by score."""
    centres = index.quantizer.reconstruct_n(0, index.nlist)
    quantizer = faiss.IndexFlatIP(index.d)
    quantizer.add(centres)
    index.quantizer = quantizer
    quantizer.this.disown()


def _find_list_ids(index: Any, n_items: int) -> npt.NDArray[np.uint16]:
    """The list of each item: uint16 [N+1]."""
    list_ids = np.zeros(n_items + 1, dtype=np.uint16)
    for number, size in _sizes(index):
        list_ids[faiss.rev_swig_ptr(index.invlists.get_ids(number), size)] = number
    return list_ids


def _sizes(index: Any) -> Iterator[tuple[int, int]]:
    """Number and size of each list that isn't empty."""
    for number in range(index.nlist):
        if size := index.invlists.list_size(number):
            yield number, size


def _take_outliers(
    index: Any, table: Vectors, list_ids: npt.NDArray[np.uint16]
) -> npt.NDArray[np.int32]:
    """Remove the items farthest from their centres from the lists: sorted item_indices."""
    n_items, dimension = len(table) - 1, table.shape[1]
    count = min(_OUTLIER_BYTES // (4 * dimension), int(n_items * _OUTLIER_SHARE))
    centres = index.quantizer.reconstruct_n(0, index.nlist)
    distances = np.zeros(n_items + 1, dtype=np.float32)
    for start in range(1, len(table), _CHUNK_ROWS):
        rows = np.asarray(table[start : start + _CHUNK_ROWS])
        rest = rows - centres[list_ids[start : start + len(rows)]]
        distances[start : start + len(rows)] = np.einsum("nd,nd->n", rest, rest)
    farthest = np.argpartition(distances, len(distances) - count)[len(distances) - count :]
    outliers = np.sort(farthest).astype(np.int32)
    index.remove_ids(outliers.astype(np.int64))
    return outliers


def _describe(
    index: Any, table: Vectors, list_ids: npt.NDArray[np.uint16], outliers: npt.NDArray[np.int32]
) -> Lists:
    listed = np.ones(len(list_ids), dtype=np.bool_)
    listed[0] = False
    listed[outliers] = False
    lengths = np.sqrt(np.einsum("nd,nd->n", table, table))
    centres = index.quantizer.reconstruct_n(0, index.nlist)
    list_stds = measure_list_stds(lengths[listed], list_ids[listed], centres, index.nlist)
    return Lists(index, list_ids, listed, list_stds)


def _write_lists(index: Any, folder: Path) -> None:
    """Write the lists in sequence: blocks of codes, then ids, -1 where a block is not full."""
    lists = faiss.downcast_InvertedLists(index.invlists)

    def write(file: Any) -> None:
        for number, size in _sizes(index):
            capacity = -(-size // _BLOCK_ITEMS) * _BLOCK_ITEMS
            ids = np.full(capacity, -1, dtype=np.int64)
            ids[:size] = faiss.rev_swig_ptr(lists.get_ids(number), size)
            codes = faiss.rev_swig_ptr(lists.get_codes(number), capacity * index.code_size)
            file.write(codes.tobytes() + ids.tobytes())

    write_atomically(folder / files.RETRIEVER_LISTS, write)


def _write_index(index: Any, folder: Path) -> None:
    """Write centres and codebooks; the lists are in a file of their own."""
    empty = faiss.ArrayInvertedLists(index.nlist, index.code_size)
    index.replace_invlists(empty, True)
    empty.this.disown()
    content = faiss.serialize_index(index).tobytes()
    write_atomically(folder / files.RETRIEVER, content)
