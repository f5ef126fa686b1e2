"""The best items of a large catalogue without scoring all of them. Nothing else uses faiss here.

The items lie in lists, one around each of some thousand centres. The lists whose centres score
best are looked into, through 4-bit codes of their items; what looks good there is scored exactly
with the rows of the item table. How many lists and items that takes was measured when the bundle
was built, for finding the `depth` best items of the whole catalogue. A request needs more depth
than k where it refuses some of what is found, or allows only a share of the catalogue.

All that is large is mapped from the bundle's files, so that workers share one copy.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from app.arrays import NO_ITEMS, FloatArray, IndexArray
from app.grouping import Grouping, Places, RecentSets
from app.selection import REFUSED, block, top_k
from model_store import bundle as files
from model_store.bundle import Bundle
from model_store.errors import BundleError
from model_store.manifest import Probe, RetrieverInfo

# Share of the golden requests' items that must be found again. Below what was measured at the
# build by more than the chance of some two hundred items explains.
LEAST_GOLDEN_RECALL = 0.95
# So few allowed items are scored without further ado.
MOST_SCORED_AT_ONCE = 1_000
# Rows of larger sets are copied next to each other, which makes scoring them again four times as
# fast; so large a set, and so much for all that are kept.
MOST_COPIED_BYTES, MOST_COPIES_BYTES = 6 * 1024**2, 64 * 1024**2
# Of still larger sets, the items in the best lists are scored. Items in all sets that are kept.
MOST_GROUPED_ITEMS = 4_000_000
# Above this share of the catalogue, what is found without a filter is filtered.
GROUPED_SHARE = 0.2
# Rows spread over the catalogue, by whose scores is told how deep in it a score lies; and how many
# of them must be above it to tell anything.
SAMPLED_ROWS, TELLING_ROWS = 2_048, 3
# Of a filter's items, so many with the longest rows are always scored: they can score well from
# lists that don't, and a filter may let through just these lists.
LONGEST_ROWS = 2_048
# Codes are interleaved in blocks of so many items, and each item has an int64 id behind them.
_BLOCK_ITEMS, _ID_BYTES = 32, 8

Mask: TypeAlias = npt.NDArray[np.bool_]
Best: TypeAlias = tuple[IndexArray, FloatArray]
"""Items, best first, and their scores."""


class Retriever:
    """Finds the best items for a user vector; made by `open`, shared by all threads.

    Args:
        index: a faiss index with its lists.
        info: the manifest's.
        places: uint16 [N+1], list of each indexed item.
        table: float32 [N'+1, D] with N' >= N; rows behind N are always scored.
        lengths: float32 [N+1], of the indexed rows, where they are known.
    """

    def __init__(
        self,
        index: Any,
        info: RetrieverInfo,
        places: Places,
        table: FloatArray,
        lengths: FloatArray | None = None,
    ) -> None:
        self._index, self._info, self._places = index, info, places
        self._table = np.asarray(table)
        self._n_indexed = len(places) - 1
        self._lengths = _measure(self._table[: len(places)]) if lengths is None else lengths
        self._depths = [probe.depth for probe in info.probes]
        self._centres: FloatArray = index.quantizer.reconstruct_n(0, info.n_lists)
        row_bytes = self._table.itemsize * self._table.shape[1]
        self._most_copied = MOST_COPIED_BYTES // row_bytes
        self._copies = RecentSets(self._copy_rows, MOST_COPIES_BYTES // row_bytes)
        self._groupings = RecentSets(self._group, MOST_GROUPED_ITEMS)
        self._sample: FloatArray = self._table[1 :: -(-self._n_indexed // SAMPLED_ROWS)].copy()

    @classmethod
    def open(cls, bundle: Bundle, table: FloatArray) -> Retriever | None:
        """The bundle's retriever; None where the bundle states none, and every item is scored.

        Args:
            bundle: already checked against its sums.
            table: float32 [N'+1, D], the bundle's rows and perhaps further ones.

        Raises:
            BundleError: the index can't be read, or is not one over this bundle's items.
        """
        info, places = bundle.manifest.retriever, bundle.retriever_places
        if info is None or places is None:
            return None
        # A memory map answers slower than the plain array over the same pages.
        places = np.asarray(places)
        return cls(_open_index(bundle, info, places), info, places, table)

    def with_table(self, table: FloatArray) -> Retriever:
        """The same index over a table with other rows behind the indexed ones."""
        return Retriever(self._index, self._info, self._places, table, self._lengths)

    def best(
        self, user: FloatArray, k: int, refused: IndexArray, allowed: IndexArray | None
    ) -> Best:
        """The k best items, best first, ties to the lower item_index; fewer only if there are.

        Args:
            user: float32 [D].
            k: at least 1.
            refused: item_indices not to be returned, in any order.
            allowed: sorted item_indices to choose among; None means all.

        Returns:
            item_indices int32 [<= k] and their scores float32, `user @ table row`.
        """
        refused = np.sort(refused)
        if allowed is None:
            return self._best_of_found(user, k, refused, None)
        if len(allowed) <= max(MOST_SCORED_AT_ONCE, k):
            return self._choose(user, k, allowed, refused)[0]
        if len(allowed) <= self._most_copied:
            scores = (self._copies.of(allowed) @ user)[: len(allowed)]
            return _choose_scored(k, allowed, scores, refused)[0]
        if len(allowed) < GROUPED_SHARE * len(self._table):
            return self._best_of_grouped(user, k, refused, allowed)
        return self._best_of_found(user, k, refused, allowed)

    def verify(
        self,
        users: FloatArray,
        wanted: Sequence[IndexArray],
        refused: Sequence[IndexArray],
    ) -> float:
        """Share of known best items that are found: the check before a bundle may serve.

        Args:
            users: float32 [Q, D].
            wanted: for each user, the best items by exact scoring.
            refused: for each user, what was left out then.

        Raises:
            BundleError: it is less than LEAST_GOLDEN_RECALL.
        """
        n_found = n_wanted = 0
        for user, best, without in zip(users, wanted, refused, strict=True):
            found, _ = self.best(user, len(best), without, None)
            n_found += len(np.intersect1d(found, best))
            n_wanted += len(best)
        recall = n_found / max(1, n_wanted)
        if recall < LEAST_GOLDEN_RECALL:
            raise BundleError(
                f"{files.RETRIEVER}: finds {recall:.3f} of the golden requests' items, "
                f"{LEAST_GOLDEN_RECALL} are needed"
            )
        return recall

    def _best_of_found(
        self, user: FloatArray, k: int, refused: IndexArray, allowed: IndexArray | None
    ) -> Best:
        """Search the whole catalogue so deep that k of what is found is permitted."""
        share = 1.0 if allowed is None else len(allowed) / len(self._table)
        # What was seen is often among the best. Half as many as are asked for are reckoned with,
        # and where more of them come up, the search goes deeper.
        depth = int((k + min(k // 2, len(refused))) / share)
        fresh = self._fresh(allowed)
        while (probe := self._probe(depth)) is not None:
            candidates = self._search(user, probe)
            inside = None if allowed is None else _are_members(candidates, allowed)
            pool = np.concatenate([candidates, fresh]) if len(fresh) else candidates
            best, reached = self._choose(user, k, pool, refused, inside)
            if len(best[0]) == k and reached <= probe.depth:
                return best
            depth = reached if len(best[0]) == k else 4 * probe.depth
        if allowed is None:
            return self._best_of_all(user, k, refused)
        return self._best_of_grouped(user, k, refused, allowed)

    def _best_of_grouped(
        self, user: FloatArray, k: int, refused: IndexArray, allowed: IndexArray
    ) -> Best:
        """Score the allowed items of the best lists."""
        n_indexed = self._count_indexed(allowed)
        if not n_indexed:
            return self._choose(user, k, allowed, refused)[0]
        grouping, longest = self._groupings.of(allowed[:n_indexed])
        fresh = allowed[n_indexed:]
        centre_scores = self._centres @ user
        share = n_indexed / self._n_indexed
        wanted = k + int(min(k // 2, len(refused)) * share)
        while (probe := self._probe(int(wanted / share))) is not None:
            # Where the user's lists hold few of the items, others are looked into: as many items
            # are scored as if the filter had nothing to do with the lists.
            n_rows = max(n_indexed * probe.lists // self._info.n_lists, 2 * wanted)
            gathered = grouping.gather(centre_scores, probe.lists, n_rows)
            pool = np.sort(np.concatenate([gathered, longest, fresh]))
            # numpy's own `unique` takes a hash table, and ten times as long.
            pool = pool[np.diff(pool, prepend=0) > 0]
            best, reached = self._choose(user, k, pool, refused)
            if len(gathered) == n_indexed:
                return best
            if len(best[0]) < k:
                wanted *= 4
                continue
            # A filter that the user's taste runs against has its best items far down.
            depth = self._estimate_depth(user, best[1][-1])
            if reached <= wanted and depth <= 2 * probe.depth:
                return best
            wanted = max(reached, int(depth * share))
        return self._choose(user, k, allowed, refused)[0]

    def _estimate_depth(self, user: FloatArray, score: np.float32) -> int:
        """About how many items of the catalogue score better; 0, too few to tell."""
        above = int(np.count_nonzero(self._sample @ user > score))
        return above * self._n_indexed // len(self._sample) if above >= TELLING_ROWS else 0

    def _best_of_all(self, user: FloatArray, k: int, refused: IndexArray) -> Best:
        scores = self._table @ user
        block(scores, refused)
        items = top_k(scores, k)
        return items, scores[items]

    def _search(self, user: FloatArray, probe: Probe) -> IndexArray:
        """Sorted candidates of the whole index."""
        import faiss

        parameters = faiss.SearchParametersIVF(nprobe=probe.lists)
        _, labels = self._index.search(user[None], probe.rescored, params=parameters)
        candidates = np.sort(labels[0]).astype(np.int32)
        # Where the lists hold fewer items than were asked for, faiss fills up with -1.
        return candidates[np.searchsorted(candidates, 1) :]

    def _choose(
        self,
        user: FloatArray,
        k: int,
        pool: IndexArray,
        refused: IndexArray,
        inside: Mask | None = None,
    ) -> tuple[Best, int]:
        """The k best of a pool, scored exactly; see `_choose_scored`."""
        return _choose_scored(k, pool, self._score(user, pool), refused, inside)

    def _score(self, user: FloatArray, items: IndexArray) -> FloatArray:
        """`user @ row` of each item."""
        scores: FloatArray = self._copy_rows(items) @ user
        return scores[: len(items)]

    def _copy_rows(self, items: IndexArray) -> FloatArray:
        """Rows of the table next to each other, and up to three of zeros behind them.

        The product sums a last row or two in another order than four rows at once, and equal rows
        must score equally wherever they stand: so there are always four.
        """
        padded = np.zeros(-(-len(items) // 4) * 4, dtype=np.int32)
        padded[: len(items)] = items
        rows: FloatArray = self._table.take(padded, axis=0)
        return rows

    def _group(self, allowed: IndexArray) -> tuple[Grouping, IndexArray]:
        """The items by list, and those with the longest rows."""
        cut = max(0, len(allowed) - LONGEST_ROWS)
        longest = allowed[np.argpartition(self._lengths[allowed], cut)[cut:]]
        return Grouping.of(allowed, self._places, self._info.n_lists), longest

    def _probe(self, depth: int) -> Probe | None:
        """The narrowest way to find the `depth` best items; None, that deep was not measured."""
        place = bisect_left(self._depths, depth)
        return self._info.probes[place] if place < len(self._depths) else None

    def _count_indexed(self, allowed: IndexArray) -> int:
        """How many of these sorted items, all in front, are in the index."""
        return int(np.searchsorted(allowed, self._n_indexed, side="right"))

    def _fresh(self, allowed: IndexArray | None) -> IndexArray:
        """Sorted items behind the indexed ones: those allowed, or all."""
        if allowed is not None:
            return allowed[self._count_indexed(allowed) :]
        if len(self._table) == self._n_indexed + 1:
            return NO_ITEMS
        return np.arange(self._n_indexed + 1, len(self._table), dtype=np.int32)


def _measure(table: FloatArray) -> FloatArray:
    """Length of each row, float32 [N+1]."""
    lengths: FloatArray = np.sqrt(np.einsum("nd,nd->n", table, table))
    return lengths


def _choose_scored(
    k: int,
    pool: IndexArray,
    scores: FloatArray,
    refused: IndexArray,
    inside: Mask | None = None,
) -> tuple[Best, int]:
    """The k best of a pool, and how many of the pool are no worse than the last of these.

    Args:
        k: at least 1.
        pool: item_indices, sorted.
        scores: of the pool.
        refused: sorted.
        inside: which of the first of the pool may be chosen; None means all.
    """
    permitted = scores
    if len(refused) or inside is not None:
        permitted = scores.copy()
        permitted[_are_members(pool, refused)] = REFUSED
        if inside is not None:
            permitted[: len(inside)][~inside] = REFUSED
    places = top_k(permitted, k)
    best = scores[places]
    reached = int(np.count_nonzero(scores >= best[-1])) if len(best) else len(pool)
    return (pool[places], best), reached


def _are_members(items: IndexArray, members: IndexArray) -> Mask:
    """Which of the items are in a sorted set."""
    if not len(members):
        return np.zeros(len(items), dtype=np.bool_)
    places = np.minimum(members.searchsorted(items), len(members) - 1)
    found: Mask = members[places] == items
    return found


def _open_index(bundle: Bundle, info: RetrieverInfo, places: Places) -> Any:
    """The bundle's faiss index over its memory-mapped lists.

    Raises:
        BundleError: see `Retriever.open`.
    """
    # Small catalogues do without, and without its memory.
    import faiss

    # A request is far too small to be worth dividing; the cores are better spent on other workers.
    faiss.omp_set_num_threads(1)
    path = bundle.folder / files.RETRIEVER
    try:
        index = faiss.read_index(str(path))
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise BundleError(f"{path}: not a readable index ({reason})") from error
    if not isinstance(index, faiss.IndexIVFPQFastScan):
        raise BundleError(f"{path}: is a {type(index).__name__}, expected IndexIVFPQFastScan")
    size = bundle.manifest.model.embedding_size
    facts = {
        "vectors of size": (index.d, size),
        "items": (index.ntotal, bundle.manifest.n_items),
        "lists": (index.nlist, info.n_lists),
        "bytes a code": (index.code_size, info.code_bytes),
        "metric": (index.metric_type, faiss.METRIC_INNER_PRODUCT),
    }
    for name, (found, expected) in facts.items():
        if found != expected:
            raise BundleError(f"{path}: {name} {found}, expected {expected}")
    lists = _map_lists(bundle, info, places)
    index.replace_invlists(lists, True)
    lists.this.disown()
    return index


def _map_lists(bundle: Bundle, info: RetrieverInfo, places: Places) -> Any:
    """The lists as faiss reads them where they lie, every worker the same pages.

    faiss itself would copy lists of 4-bit codes into each process's memory. Its lists on disk know
    nothing of blocks; but a list whose capacity is whole blocks looks just like one of theirs.
    """
    import faiss

    path = bundle.folder / files.RETRIEVER_LISTS
    if places.dtype != np.uint16 or int(places[1:].max()) >= info.n_lists:
        raise BundleError(
            f"{bundle.folder / files.RETRIEVER_PLACES}: {places.dtype} up to {places[1:].max()}, "
            f"expected uint16 below {info.n_lists}"
        )
    sizes = np.bincount(places[1:], minlength=info.n_lists)
    capacities = -(-sizes // _BLOCK_ITEMS) * _BLOCK_ITEMS
    ends = np.cumsum(capacities * (info.code_bytes + _ID_BYTES))
    if (found := path.stat().st_size) != ends[-1]:
        raise BundleError(f"{path}: {found} bytes, the lists of its items take {ends[-1]}")
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
