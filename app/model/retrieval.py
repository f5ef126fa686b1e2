"""The best items of a large catalogue without scoring all of them.

Candidates come from an index, and are scored exactly with the rows of the item table. The build
measured how wide a search must be to find the `depth` best items of the whole catalogue. A request
needs more depth than k where it excludes some of the found items, or allows only a share of the
catalogue.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

import numpy as np

from app.model.arrays import NO_ITEMS, FloatArray, IndexArray
from app.model.candidates import CandidateIndex
from app.model.grouping import Grouping, RecentSets
from app.model.ranking import EXCLUDED, Best, Mask, are_members, best_of, kth_best, mask, top_k
from model_store import bundle as files
from model_store.bundle import Bundle
from model_store.errors import BundleError
from model_store.manifest import Probe, RetrieverInfo

# Share of the golden requests' items that must be found again. It is below the recall measured at
# the build by more than random variation of some two hundred items explains.
MIN_GOLDEN_RECALL = 0.95
# Up to this many allowed items are scored directly.
MAX_SCORED_AT_ONCE = 1_000
# Rows of larger sets are copied next to each other, which makes scoring them again four times as
# fast; the limit for one set, and for all cached ones.
MAX_COPIED_BYTES, MAX_COPIES_BYTES = 6 * 1024**2, 64 * 1024**2
# Of still larger sets, the items in the best lists are scored; limit on items of all cached sets.
MAX_GROUPED_ITEMS = 4_000_000
# Above this share of the catalogue, results found without the filter are filtered.
GROUPED_SHARE = 0.2
# A sample of rows, whose scores tell how deep in the catalogue a score lies; and how many of them
# must be above it for a useful estimate.
SAMPLED_ROWS, TELLING_ROWS = 2_048, 3
# Of this many excluded items or more a few are scored first. Where several of these beat that many
# of the items that are always scored, all are scored, to choose the depth of the search. Fewer are
# simply met during the search.
MANY_EXCLUDED, SAMPLED_EXCLUDED, GOOD_ONES = 300, 64, 40
# This many of a filter's items with the longest rows are always scored: they can score well from
# lists that don't, and a filter may allow just these lists.
LONGEST_ROWS = 2_048


class Retriever:
    """Finds the best items for a user vector; created by `open`, shared by all threads.

    Args:
        index: index of the table's first N items.
        info: the manifest's entry.
        table: float32 [N'+1, D] with N' >= N; rows after N are always scored.
        lengths: float32 [N+1], lengths of the indexed rows.
        outliers: sorted item_indices that are in none of the index's lists.
    """

    def __init__(
        self,
        index: CandidateIndex,
        info: RetrieverInfo,
        table: FloatArray,
        lengths: FloatArray,
        outliers: IndexArray,
    ) -> None:
        self._index, self._info, self._lengths, self._outliers = index, info, lengths, outliers
        self._table = np.asarray(table)
        self._n_indexed = len(lengths) - 1
        row_bytes = self._table.itemsize * self._table.shape[1]
        self._max_copied = MAX_COPIED_BYTES // row_bytes
        self._copies = RecentSets(self._copy_rows, MAX_COPIES_BYTES // row_bytes)
        self._groupings = RecentSets(self._group, MAX_GROUPED_ITEMS)
        self._sample: FloatArray = self._table[1 :: -(-self._n_indexed // SAMPLED_ROWS)].copy()
        fresh = np.arange(self._n_indexed + 1, len(self._table), dtype=np.int32)
        self._always: IndexArray = np.concatenate([outliers, fresh])
        self._always_rows = self._copy_rows(self._always)

    @classmethod
    def open(cls, bundle: Bundle, table: FloatArray) -> Retriever | None:
        """The bundle's retriever; None where the bundle has none, and every item is scored.

        Args:
            bundle: already checked against its checksums.
            table: float32 [N'+1, D], the bundle's rows and perhaps further ones.

        Raises:
            BundleError: the index can't be read, or is not one over this bundle's items.
        """
        info = bundle.manifest.retriever
        if info is None:
            return None
        lengths = _measure(np.asarray(table)[: bundle.manifest.n_items + 1])
        index = CandidateIndex.open(bundle, info, lengths)
        return cls(index, info, table, lengths, np.asarray(bundle.retriever_outliers))

    def with_table(self, table: FloatArray) -> Retriever:
        """The same index over a table with other rows after the indexed ones."""
        return Retriever(self._index, self._info, table, self._lengths, self._outliers)

    def best(
        self,
        user: FloatArray,
        k: int,
        excluded: IndexArray,
        allowed: IndexArray | None,
        withdrawn: IndexArray = NO_ITEMS,
    ) -> Best:
        """The k best items, best first, ties to the lower item_index; fewer only if no more exist.

        Args:
            user: float32 [D].
            k: at least 1.
            excluded: item_indices not to be returned, in any order.
            allowed: sorted item_indices to choose among, none of them withdrawn; None means all.
            withdrawn: sorted item_indices that nobody is to get, of which there may be very many.

        Returns:
            item_indices int32 [<= k] and their scores float32, `user @ table row`.
        """
        excluded = np.sort(excluded)
        if allowed is None:
            return self._best_of_found(user, k, excluded, None, withdrawn)
        if len(allowed) <= max(MAX_SCORED_AT_ONCE, k):
            return self._choose(user, k, allowed, excluded)[0]
        if len(allowed) <= self._max_copied:
            scores = (self._copies.of(allowed) @ user)[: len(allowed)]
            return _choose_scored(k, allowed, scores, excluded)[0]
        if len(allowed) < GROUPED_SHARE * len(self._table):
            return self._best_of_grouped(user, k, excluded, allowed)
        return self._best_of_found(user, k, excluded, allowed, NO_ITEMS)

    def verify(
        self,
        users: FloatArray,
        wanted: Sequence[IndexArray],
        excluded: Sequence[IndexArray],
    ) -> float:
        """Recall of known best items: the check before a bundle may serve.

        Args:
            users: float32 [Q, D].
            wanted: for each user, the best items by exact scoring.
            excluded: for each user, the items that were excluded then.

        Raises:
            BundleError: it is less than MIN_GOLDEN_RECALL.
        """
        n_found = n_wanted = 0
        for user, best, without in zip(users, wanted, excluded, strict=True):
            found, _ = self.best(user, len(best), without, None)
            n_found += len(np.intersect1d(found, best))
            n_wanted += len(best)
        recall = n_found / max(1, n_wanted)
        if recall < MIN_GOLDEN_RECALL:
            raise BundleError(
                f"{files.RETRIEVER}: finds {recall:.3f} of the golden requests' items, "
                f"{MIN_GOLDEN_RECALL} are needed"
            )
        return recall

    def _best_of_found(
        self,
        user: FloatArray,
        k: int,
        excluded: IndexArray,
        allowed: IndexArray | None,
        withdrawn: IndexArray,
    ) -> Best:
        """Search the whole catalogue deep enough to find k permitted items."""
        n_allowed = len(self._table) - len(withdrawn) if allowed is None else len(allowed)
        share = max(1, n_allowed) / len(self._table)
        always = (self._always_rows @ user)[: len(self._always)]
        # Seen items are often among the best: half as many as k are expected.
        n_better, wide = min(k // 2, len(excluded)), False
        if allowed is None and self._look_best(user, k, excluded, always):
            scores = always.copy()
            scores[are_members(self._always, excluded)] = EXCLUDED
            n_better, wide = self._count_better(user, excluded, kth_best(scores, k)), True
        depth = int((k + n_better) / share)
        hidden = excluded
        if len(withdrawn):
            hidden = np.insert(withdrawn, withdrawn.searchsorted(excluded), excluded)
        while (probe := self._probe(depth, wide)) is not None:
            found = self._index.search(user, probe)
            best, reached = self._choose_found(user, k, found, always, hidden, allowed)
            if len(best[0]) == k and reached <= probe.depth:
                return best
            least = best[1][-1] if len(best[0]) == k else EXCLUDED
            n_better = self._count_better(user, excluded, least)
            depth, wide = max(reached, int((k + n_better) / share)), True
            if depth <= probe.depth:
                depth = 4 * probe.depth
        if allowed is None:
            return self._best_of_all(user, k, hidden)
        return self._best_of_grouped(user, k, excluded, allowed)

    def _look_best(
        self, user: FloatArray, k: int, excluded: IndexArray, always: FloatArray
    ) -> bool:
        """Whether many excluded items are among the best, judged by a few of them.

        Otherwise a narrow search is cheap, and shows whether it was enough.
        """
        if len(excluded) < MANY_EXCLUDED or len(always) < k + GOOD_ONES:
            return False
        some = excluded[:: len(excluded) // SAMPLED_EXCLUDED]
        good = kth_best(always, k + GOOD_ONES)
        return int(np.count_nonzero(self._score(user, some) >= good)) >= TELLING_ROWS

    def _count_better(self, user: FloatArray, excluded: IndexArray, least: np.float32) -> int:
        """How many excluded items are no worse than the k-th best known permitted item.

        The k-th best permitted item lies no deeper than k plus that number.
        """
        if least == EXCLUDED:
            return len(excluded)
        return int(np.count_nonzero(self._score(user, excluded) >= least))

    def _probe(self, depth: int, wide: bool) -> Probe | None:
        """The probe that finds the `depth` best items; None if that depth was not measured.

        Args:
            depth: number of best items of the whole catalogue.
            wide: most of them are excluded. Earlier searches may have found these, so the items
                that those searches missed are needed now.
        """
        wide_probes = _narrowest(self._info.wide_probes, depth) if wide else None
        return wide_probes or _narrowest(self._info.probes, depth)

    def _choose_found(
        self,
        user: FloatArray,
        k: int,
        found: IndexArray,
        always: FloatArray,
        excluded: IndexArray,
        allowed: IndexArray | None,
    ) -> tuple[Best, int]:
        """The k best of found and always scored items; and how many items are no worse.

        Args:
            found: sorted item_indices.
            always: scores of the items that are always scored.
        """
        scores = self._score(user, found)
        permitted = _are_permitted(found, excluded, allowed)
        items, permitted_scores = found[permitted], scores[permitted]
        # Of the items that are always scored, only those that beat the found ones matter.
        near = np.flatnonzero(always >= kth_best(permitted_scores, k))
        if len(near):
            others = self._always[near]
            permitted = _are_permitted(others, excluded, allowed)
            items = np.concatenate([items, others[permitted]])
            permitted_scores = np.concatenate([permitted_scores, always[near[permitted]]])
        best = best_of(k, items, permitted_scores)
        if not len(best[0]):
            return best, 0
        least = best[1][-1]
        return best, int(np.count_nonzero(scores >= least) + np.count_nonzero(always >= least))

    def _best_of_grouped(
        self, user: FloatArray, k: int, excluded: IndexArray, allowed: IndexArray
    ) -> Best:
        """Score the allowed items of the best lists."""
        n_indexed = self._count_indexed(allowed)
        if not n_indexed:
            return self._choose(user, k, allowed, excluded)[0]
        grouping, outliers = self._groupings.of(allowed[:n_indexed])
        fresh = allowed[n_indexed:]
        share = n_indexed / self._n_indexed
        wanted = k + int(min(k // 2, len(excluded)) * share)
        while (probe := _narrowest(self._info.probes, int(wanted / share))) is not None:
            # Where the user's lists hold few of the items, more lists are searched: as many items
            # are scored as if the filter were independent of the lists.
            n_rows = max(n_indexed * probe.lists // self._info.n_lists, 2 * wanted)
            gathered = grouping.gather(self._index.rank(user, probe)[1], probe.lists, n_rows)
            pool = np.sort(np.concatenate([gathered, outliers, fresh]))
            # numpy's own `unique` uses a hash table, and takes ten times as long.
            pool = pool[np.diff(pool, prepend=0) > 0]
            best, reached = self._choose(user, k, pool, excluded)
            if len(gathered) == n_indexed:
                return best
            if len(best[0]) < k:
                wanted *= 4
                continue
            # The best items of a filter that doesn't match the user's taste lie far down.
            depth = self._estimate_depth(user, best[1][-1])
            if reached <= wanted and depth <= 2 * probe.depth:
                return best
            wanted = max(reached, int(depth * share))
        return self._choose(user, k, allowed, excluded)[0]

    def _estimate_depth(self, user: FloatArray, score: np.float32) -> int:
        """Estimated number of items that score better; 0 if too few to estimate."""
        above = int(np.count_nonzero(self._sample @ user > score))
        return above * self._n_indexed // len(self._sample) if above >= TELLING_ROWS else 0

    def _best_of_all(self, user: FloatArray, k: int, excluded: IndexArray) -> Best:
        scores = self._table @ user
        mask(scores, excluded)
        items = top_k(scores, k)
        return items, scores[items]

    def _choose(
        self,
        user: FloatArray,
        k: int,
        pool: IndexArray,
        excluded: IndexArray,
    ) -> tuple[Best, int]:
        """The k best of a pool, scored exactly; see `_choose_scored`."""
        return _choose_scored(k, pool, self._score(user, pool), excluded)

    def _score(self, user: FloatArray, items: IndexArray) -> FloatArray:
        """`user @ row` of each item."""
        scores: FloatArray = self._copy_rows(items) @ user
        return scores[: len(items)]

    def _copy_rows(self, items: IndexArray) -> FloatArray:
        """Rows of the table next to each other, followed by up to three rows of zeros.

        The product sums a last row or two in another order than four rows at once, and equal rows
        must score equally at any position: so there are always four.
        """
        padded = np.zeros(-(-len(items) // 4) * 4, dtype=np.int32)
        padded[: len(items)] = items
        rows: FloatArray = self._table.take(padded, axis=0)
        return rows

    def _group(self, allowed: IndexArray) -> tuple[Grouping, IndexArray]:
        """The items by list, and the items that are always scored."""
        cut = max(0, len(allowed) - LONGEST_ROWS)
        longest = allowed[np.argpartition(self._lengths[allowed], cut)[cut:]]
        outliers = self._outliers[are_members(self._outliers, allowed)]
        grouping = Grouping.of(allowed, self._index.list_ids, self._info.n_lists)
        return grouping, np.union1d(longest, outliers)

    def _count_indexed(self, allowed: IndexArray) -> int:
        """How many of these sorted items are in the index; they come first."""
        return int(np.searchsorted(allowed, self._n_indexed, side="right"))


def _measure(table: FloatArray) -> FloatArray:
    """Length of each row, float32 [N+1]."""
    lengths: FloatArray = np.sqrt(np.einsum("nd,nd->n", table, table))
    return lengths


def _narrowest(probes: Sequence[Probe], depth: int) -> Probe | None:
    """The first probe that finds the `depth` best items; None if that depth was not measured."""
    place = bisect_left(probes, depth, key=lambda probe: probe.depth)
    return probes[place] if place < len(probes) else None


def _are_permitted(items: IndexArray, excluded: IndexArray, allowed: IndexArray | None) -> Mask:
    """The items that may be returned; all arguments are sorted."""
    permitted = ~are_members(items, excluded)
    if allowed is not None:
        permitted &= are_members(items, allowed)
    return permitted


def _choose_scored(
    k: int, pool: IndexArray, scores: FloatArray, excluded: IndexArray
) -> tuple[Best, int]:
    """The k best of a pool, and how many of the pool are no worse than the last of them.

    Args:
        k: at least 1.
        pool: item_indices, sorted.
        scores: scores of the pool.
        excluded: sorted item_indices.
    """
    permitted = scores
    if len(excluded):
        permitted = scores.copy()
        permitted[are_members(pool, excluded)] = EXCLUDED
    places = top_k(permitted, k)
    best = scores[places]
    reached = int(np.count_nonzero(scores >= best[-1])) if len(best) else len(pool)
    return (pool[places], best), reached
