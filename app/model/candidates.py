"""The candidate index, mapped from a bundle's files; the only module here that uses faiss.

Items are in lists, one around each of some thousand centres. The lists that rank best for a user
are searched by 4-bit codes of their items. Large arrays are memory-mapped, so that workers share
one copy.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from app.model.arrays import FloatArray, IndexArray
from app.model.background import yield_cpu
from app.model.grouping import ListIds
from model_store import bundle as files
from model_store.bundle import Bundle
from model_store.errors import BundleError
from model_store.lists import measure_list_stds, rank_lists
from model_store.manifest import Probe, RetrieverInfo
from model_store.reading import bundle_errors

# Codes are interleaved in blocks of this many items; an int64 id for each item follows them.
_BLOCK_ITEMS, _ID_BYTES = 32, 8
_LISTS_AT_ONCE = 64
# faiss's method for one query and many results: list by list, into a reservoir. Its default is for
# many queries at once, and takes 1.7 times as long.
_ONE_QUERY = 11


class CandidateIndex:
    """Finds items that are probably among the best; created by `open`, shared by all threads.

    Args:
        index: a faiss index with its lists.
        n_lists: number of these lists.
        list_ids: uint16 [N+1], the list that each item is in, or is nearest to.
        listed: bool [N+1], the items that are in a list.
        lengths: float32 [N+1], of the items' rows.
    """

    def __init__(
        self,
        index: Any,
        n_lists: int,
        list_ids: ListIds,
        listed: npt.NDArray[np.bool_],
        lengths: FloatArray,
    ) -> None:
        self._index, self.n_lists, self.list_ids = index, n_lists, list_ids
        self._centres: FloatArray = index.quantizer.reconstruct_n(0, n_lists)
        self._list_stds = measure_list_stds(
            lengths[listed], list_ids[listed], self._centres, n_lists
        )

    @classmethod
    def open(cls, bundle: Bundle, info: RetrieverInfo, lengths: FloatArray) -> CandidateIndex:
        """The bundle's index.

        Raises:
            BundleError: it can't be read, or is not one over this bundle's items.
        """
        # A memory map is slower to index than a plain array over the same pages.
        list_ids: ListIds = np.asarray(bundle.retriever_list_ids)
        if (last := int(list_ids[1:].max())) >= info.n_lists:
            raise BundleError(
                f"{bundle.folder / files.RETRIEVER_LIST_IDS}: list {last}, there are {info.n_lists}"
            )
        listed = _find_listed(bundle, len(list_ids))
        index = _read_index(bundle, info, int(listed.sum()))
        lists = _map_lists(bundle, info, np.flatnonzero(listed), list_ids[listed])
        index.replace_invlists(lists, True)
        lists.this.disown()
        index.implem = _ONE_QUERY
        return cls(index, info.n_lists, list_ids, listed, lengths)

    def rank(self, user: FloatArray, probe: Probe) -> tuple[FloatArray, FloatArray]:
        """Scores of the lists' centres, and the scores that rank the lists: float32 [n_lists]."""
        scores: FloatArray = self._centres @ user
        return scores, rank_lists(scores, user, self._list_stds, probe.spread_weight)

    def search(self, user: FloatArray, probe: Probe) -> IndexArray:
        """Sorted candidates for a user vector, float32 [D]: as many as the probe has rescored."""
        import faiss

        scores, ranked = self.rank(user, probe)
        n_lists = min(probe.lists, self.n_lists)
        lists = np.argpartition(ranked, self.n_lists - n_lists)[self.n_lists - n_lists :]
        # From the best to the worst: later codes then seldom enter the reservoir.
        lists = np.ascontiguousarray(lists[np.argsort(-scores[lists])], dtype=np.int64)
        found = np.empty(probe.rescored, dtype=np.int64)
        estimates = np.empty(probe.rescored, dtype=np.float32)
        asked = np.ascontiguousarray(user, dtype=np.float32)
        list_scores = scores[lists]
        pointer = faiss.swig_ptr
        # The method for arrays takes no parameters, and the number of lists is one.
        self._index.search_preassigned_c(
            1,
            pointer(asked),
            probe.rescored,
            pointer(lists),
            pointer(list_scores),
            pointer(estimates),
            pointer(found),
            False,
            faiss.SearchParametersIVF(nprobe=n_lists),
        )
        candidates = np.sort(found.astype(np.int32))
        # Where the lists hold fewer items than requested, faiss fills up with -1.
        return candidates[np.searchsorted(candidates, 1) :]


def _find_listed(bundle: Bundle, n_rows: int) -> npt.NDArray[np.bool_]:
    """Whether each item is in a list: bool [N+1]."""
    outliers = bundle.retriever_outliers
    if len(outliers) and (
        outliers[0] < 1 or outliers[-1] >= n_rows or np.any(np.diff(outliers) <= 0)
    ):
        raise BundleError(
            f"{bundle.folder / files.RETRIEVER_OUTLIERS}: from {outliers[0]} to {outliers[-1]}, "
            f"expected ascending numbers from 1 to {n_rows - 1}"
        )
    listed = np.ones(n_rows, dtype=np.bool_)
    listed[0] = False
    listed[outliers] = False
    return listed


def _read_index(bundle: Bundle, info: RetrieverInfo, n_listed: int) -> Any:
    """The bundle's faiss index, its lists still empty."""
    # Imported here: small catalogues need neither faiss nor its memory.
    import faiss

    # A request is far too small to divide; the cores are better used by other workers.
    faiss.omp_set_num_threads(1)
    path = bundle.folder / files.RETRIEVER
    with bundle_errors(path, "not a readable index"):
        index = faiss.read_index(str(path))
    if not isinstance(index, faiss.IndexIVFPQFastScan):
        raise BundleError(f"{path}: is a {type(index).__name__}, expected IndexIVFPQFastScan")
    size = bundle.manifest.model.embedding_size
    facts = {
        "vectors of size": (index.d, size),
        "centres": (index.quantizer.ntotal, info.n_lists),
        "centres of size": (index.quantizer.d, size),
        "bits a part of a code": (index.pq.nbits, 4),
        "codes of vectors of size": (index.pq.d, size),
        "items": (index.ntotal, n_listed),
        "lists": (index.nlist, info.n_lists),
        "bytes a code": (index.code_size, info.code_bytes),
        "metric": (index.metric_type, faiss.METRIC_INNER_PRODUCT),
    }
    for name, (found, expected) in facts.items():
        if found != expected:
            raise BundleError(f"{path}: {name} {found}, expected {expected}")
    centres = index.quantizer.reconstruct_n(0, info.n_lists)
    codebook = faiss.vector_to_array(index.pq.centroids)
    if not (np.isfinite(centres).all() and np.isfinite(codebook).all()):
        raise BundleError(f"{path}: its centres hold NaN or infinity")
    return index


def _map_lists(
    bundle: Bundle, info: RetrieverInfo, listed: npt.NDArray[np.int64], list_ids: ListIds
) -> Any:
    """The lists, which faiss reads from the mapped file; all workers share its pages.

    faiss itself would copy lists of 4-bit codes into each process's memory. Its lists on disk have
    no blocks, but a list whose capacity is a whole number of blocks has the same layout.
    """
    import faiss

    path = bundle.folder / files.RETRIEVER_LISTS
    sizes = np.bincount(list_ids, minlength=info.n_lists)
    capacities = -(-sizes // _BLOCK_ITEMS) * _BLOCK_ITEMS
    ends = np.cumsum(capacities * (info.code_bytes + _ID_BYTES))
    if (found := path.stat().st_size) != ends[-1]:
        raise BundleError(f"{path}: {found} bytes, the lists of its items take {ends[-1]}")
    _check_ids(path, listed, list_ids, sizes, ends - capacities * _ID_BYTES)
    lists = faiss.OnDiskInvertedLists()
    lists.nlist, lists.code_size = info.n_lists, info.code_bytes
    lists.filename, lists.totsize, lists.read_only = str(path), int(ends[-1]), True
    lists.prefetch_nthread = 0
    # A faiss.OnDiskOneList is three numbers: size, capacity, and offset in bytes.
    described = np.stack([sizes, capacities, np.concatenate(([0], ends[:-1]))], axis=1)
    described = np.ascontiguousarray(described, dtype=np.uint64)
    lists.lists.resize(info.n_lists)
    faiss.memcpy(lists.lists.data(), faiss.swig_ptr(described), described.nbytes)
    lists.do_mmap()
    return lists


def _check_ids(
    path: Path,
    listed: npt.NDArray[np.int64],
    list_ids: ListIds,
    sizes: npt.NDArray[np.int64],
    begins: npt.NDArray[np.int64],
) -> None:
    """Check that each list holds the ids of its items: others would be looked up in the table.

    Args:
        path: file of the lists.
        listed: item_indices that are in a list, ascending.
        list_ids: the list of each of them.
        sizes: number of items of each list, int64 [n_lists].
        begins: byte offset of each list's ids, int64 [n_lists].
    """
    content = np.memmap(path, dtype=np.uint8, mode="r")
    # A stable sort of 16-bit numbers is a radix sort: the items of each list, ascending.
    expected = np.split(listed[np.argsort(list_ids, kind="stable")], np.cumsum(sizes)[:-1])
    for number, (begin, items) in enumerate(zip(begins.tolist(), expected, strict=True)):
        found = content[begin : begin + len(items) * _ID_BYTES].view("<i8")
        if not np.array_equal(np.sort(found), items):
            raise BundleError(f"{path}: list {number} holds items of other lists")
        if number % _LISTS_AT_ONCE == 0:
            yield_cpu()
