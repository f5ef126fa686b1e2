"""The index for large catalogues: built from the item table, measured on user vectors.

Inverted lists around L2 centres, whose items are ranked by inner product: item norms differ
widely, and centres of unit length (spherical k-means, faiss's own choice for inner products) mix
items of all norms, which takes more lists for the same recall. Items are coded as 4 bits for each
`D / sub-quantizers` numbers of what is left after the centre, to be scanned from registers
(Andre et al., 2017).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt

from model_store import bundle as files
from model_store.errors import InputError
from model_store.files import save_array, write_atomically
from model_store.manifest import Probe, RetrieverInfo
from offline.progress import Progress

Vectors = npt.NDArray[np.float32]
Ranks = npt.NDArray[np.int64]

NEEDED_RECALL = 0.992
"""Of each probe on the vectors it is chosen by; leaves room for other vectors to reach .99."""
# What the lists may reach by themselves, the least first: a list more takes longer than some
# candidates more.
_LISTS_RECALLS = (0.9925, 0.994, 0.996, 0.998, 1.0)
_MOST_QUERIES = 500
_DEPTHS = (10, 15, 20, 30, 50, 70, 100, 150, 200, 500, 1_000, 2_000, 5_000, 10_000)
# Deep down there are so many items to each query that fewer queries will do.
_SHALLOW, _DEEP_QUERIES = 200, 100
_FEWEST_ITEMS = 1_000
_MOST_LISTS = 1 << 13  # every item is compared with every centre once: at 10M items minutes
_SAMPLES_PER_LIST = 40
_ITERATIONS = 10
_CHUNK_ROWS = 1 << 17
_BLOCK_ITEMS = 32
_RESCORED_STEP, _MOST_RESCORED = 1.5, 16


@dataclass(frozen=True)
class RetrieverSize:
    """What may be chosen about an index.

    Attributes:
        n_lists: clusters; None for what suits the number of items.
        sub_quantizers: 4-bit parts of a code; None for one a number.
        seed: of samples and centres.
    """

    n_lists: int | None = None
    sub_quantizers: int | None = None
    seed: int = 0


def build_retriever(
    table: Vectors, users: Vectors, folder: Path, size: RetrieverSize | None = None
) -> RetrieverInfo:
    """Write the retriever's files into a folder; what the manifest says of them.

    Args:
        table: float32 [N+1, D]; a memory map will do. Row 0 is padding and stays out.
        users: float32 [Q, D], vectors of real histories, on which the probes are measured.
        folder: where the files go.
        size: choices; None for all by default.

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
    places = _write_lists(index, n_items, folder)
    users = _some(users, _MOST_QUERIES, size.seed)
    probes = _measure(index, table, users, places)
    _write_index(index, folder)
    return RetrieverInfo(
        n_lists=n_lists, code_bytes=index.code_size, probes=probes, n_queries=len(users)
    )


def suit_lists(n_items: int) -> int:
    """About four times the root of the number of items, as a power of two."""
    return min(_MOST_LISTS, 1 << round(math.log2(4 * math.sqrt(n_items))))


def _some(rows: Vectors, count: int, seed: int) -> Vectors:
    """At most `count` of the rows, spread by chance, in their order."""
    if len(rows) <= count:
        return np.ascontiguousarray(rows)
    chosen = np.random.default_rng(seed).choice(len(rows), count, replace=False)
    return np.ascontiguousarray(rows[np.sort(chosen)])


def _train(table: Vectors, n_lists: int, size: RetrieverSize) -> Any:
    """An empty index: centres by k-means, then codebooks of what is left after the centres."""
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
    """Items were put to the nearest centre; from now on lists are ranked as scores are."""
    centres = index.quantizer.reconstruct_n(0, index.nlist)
    quantizer = faiss.IndexFlatIP(index.d)
    quantizer.add(centres)
    index.quantizer = quantizer
    quantizer.this.disown()


def _write_lists(index: Any, n_items: int, folder: Path) -> npt.NDArray[np.uint16]:
    """Write all lists behind each other: blocks of codes, then ids, -1 where a block is not full.

    Returns:
        uint16 [N+1], the list of each item.
    """
    places = np.zeros(n_items + 1, dtype=np.uint16)
    lists = faiss.downcast_InvertedLists(index.invlists)

    def write(file: Any) -> None:
        for number in range(index.nlist):
            size = lists.list_size(number)
            capacity = -(-size // _BLOCK_ITEMS) * _BLOCK_ITEMS
            if not size:
                continue
            ids = np.full(capacity, -1, dtype=np.int64)
            ids[:size] = faiss.rev_swig_ptr(lists.get_ids(number), size)
            codes = faiss.rev_swig_ptr(lists.get_codes(number), capacity * index.code_size)
            file.write(codes.tobytes() + ids.tobytes())
            places[ids[:size]] = number

    write_atomically(folder / files.RETRIEVER_LISTS, write)
    save_array(folder / files.RETRIEVER_PLACES, places)
    return places


def _write_index(index: Any, folder: Path) -> None:
    """Write centres and codebooks; the lists lie in a file of their own."""
    empty = faiss.ArrayInvertedLists(index.nlist, index.code_size)
    index.replace_invlists(empty, True)
    empty.this.disown()
    content = faiss.serialize_index(index).tobytes()
    write_atomically(folder / files.RETRIEVER, content)


def _measure(
    index: Any, table: Vectors, users: Vectors, places: npt.NDArray[np.uint16]
) -> tuple[Probe, ...]:
    """The narrowest probe that reaches the needed recall, for each depth."""
    n_items = len(table) - 1
    depths = [depth for depth in _DEPTHS if depth <= n_items // 10]
    probes = []
    for part, some in (
        ([depth for depth in depths if depth <= _SHALLOW], users),
        (
            [depth for depth in depths if depth > _SHALLOW],
            users[:: -(-len(users) // _DEEP_QUERIES)],
        ),
    ):
        if not part:
            continue
        best = find_best(table, some, part[-1])
        ranks = _list_ranks(index, some, places[best])
        with Progress("measuring recall", len(part), "depth") as progress:
            for depth in part:
                probes.append(_narrowest(index, some, best[:, :depth], ranks[:, :depth]))
                progress.advance()
    return tuple(probes)


def _narrowest(index: Any, users: Vectors, wanted: Ranks, ranks: Ranks) -> Probe:
    """The fewest lists, then the fewest candidates, that reach the needed recall."""
    depth = wanted.shape[1]
    most = min(index.ntotal, _MOST_RESCORED * depth + 100)
    for share in _LISTS_RECALLS:
        n_lists = int(np.quantile(ranks, share, method="higher")) + 1
        rescored = min(most, depth + 16)
        while True:
            parameters = faiss.SearchParametersIVF(nprobe=n_lists)
            _, found = index.search(users, rescored, params=parameters)
            recall = _recall(found, wanted)
            if recall >= NEEDED_RECALL or rescored == most:
                break
            rescored = min(most, int(rescored * _RESCORED_STEP))
        if recall >= NEEDED_RECALL:
            break
    return Probe(depth=depth, lists=n_lists, rescored=rescored, recall=round(recall, 5))


def _recall(found: npt.NDArray[np.int64], wanted: npt.NDArray[np.int64]) -> float:
    pairs = zip(found, wanted, strict=True)
    return float(np.mean([np.isin(want, got).mean() for got, want in pairs]))


def _list_ranks(index: Any, users: Vectors, places: npt.NDArray[np.uint16]) -> Ranks:
    """At which place, from 0, the lists of these items come up for their users: [Q, depth]."""
    centres = index.quantizer.reconstruct_n(0, index.nlist)
    order = np.argsort(-(users @ centres.T), axis=1, kind="stable")
    rank_of = np.empty_like(order)
    np.put_along_axis(rank_of, order, np.arange(index.nlist)[None], axis=1)
    return np.take_along_axis(rank_of, places.astype(np.int64), axis=1)


def find_best(table: Vectors, users: Vectors, depth: int) -> npt.NDArray[np.int64]:
    """The `depth` best items of each user by exact scoring, best first: int64 [Q, depth]."""
    items = np.zeros((len(users), 0), dtype=np.int64)
    scores = np.zeros((len(users), 0), dtype=np.float32)
    with Progress("scoring exactly", len(table) - 1, "item") as progress:
        for start in range(1, len(table), _CHUNK_ROWS):
            rows = np.asarray(table[start : start + _CHUNK_ROWS])
            new_scores = users @ rows.T
            kept = _largest(new_scores, depth)
            scores = np.hstack([scores, np.take_along_axis(new_scores, kept, axis=1)])
            items = np.hstack([items, kept + start])
            kept = _largest(scores, depth)
            scores = np.take_along_axis(scores, kept, axis=1)
            items = np.take_along_axis(items, kept, axis=1)
            progress.advance(len(rows))
    order = np.argsort(-scores, axis=1, kind="stable")
    return np.take_along_axis(items, order, axis=1)


def _largest(scores: Vectors, count: int) -> npt.NDArray[np.int64]:
    """Columns of the largest numbers of each row, in no order."""
    count = min(count, scores.shape[1])
    columns: npt.NDArray[np.int64] = np.argpartition(-scores, count - 1, axis=1)[:, :count]
    return columns
