"""Measures how wide a retriever must search, on user vectors, when it is built.

One search of everything gives the rank of each wanted item's code, and the ranking of lists gives
the rank of its list. From both follows a lower bound of the recall for any number of lists and
candidates: with fewer lists the rank of an item's code can only improve.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt

from model_store.lists import rank_lists
from model_store.manifest import Probe
from offline.progress import Progress

Vectors = npt.NDArray[np.float32]
Ranks = npt.NDArray[np.int64]

NEEDED_RECALL = 0.995
"""Of each probe on the vectors it is chosen by; so that other vectors reach .99."""
DEPTHS = (10, 15, 20, 30, 50, 70, 100, 150, 200, 500, 1_000, 2_000, 5_000, 10_000)
WIDE_DEPTHS = (20, 30, 60, 110, 250, 550, 1_010, 1_100, 1_250, 2_200, 5_500)
# Deep probes have so many items for each query that fewer queries are enough.
_SHALLOW, _DEEP_QUERIES = 1_250, 100
# Shares of the wanted items whose lists are searched, and weights of list_stds, to choose among.
_LISTS_RECALLS = (0.9955, 0.997, 0.9985, 0.9995, 1.0)
_SPREAD_WEIGHTS = (0.0, 1.0, 2.0, 3.0, 4.0)
# Costs in ns (measured at a million items, one core): to open a list, to scan a code, and to select
# a candidate, fetch its row and score it.
_LIST_NS, _CODE_NS, _CANDIDATE_NS = 180.0, 3.6, 200.0
_MAX_RESCORED = 16
# Items left of a depth after the best found of it were excluded.
_LEFT = 10
_CHUNK_ROWS = 1 << 17


@dataclass(frozen=True)
class Lists:
    """The lists to search.

    Attributes:
        index: a faiss index whose lists are ranked by inner product.
        list_ids: uint16 [N+1], the list of each item.
        listed: bool [N+1], items in a list; all others are always found.
        list_stds: float32 [n_lists], see `measure_list_stds`.
    """

    index: Any
    list_ids: npt.NDArray[np.uint16]
    listed: npt.NDArray[np.bool_]
    list_stds: Vectors


@dataclass(frozen=True)
class _Observation:
    """Ranks of the best items of some users; rows are users, columns items, best first.

    Attributes:
        items: int64 [Q, depth].
        code_ranks: int64 [Q, depth], among all codes, `most` for later ones; -1 for items that
            are always found.
        list_ranks: for each spread weight, int64 [Q, depth] among the lists.
        scanned: for each spread weight, float64 [n_lists + 1], codes in the first lists.
        most: number of candidates of the search.
    """

    items: Ranks
    code_ranks: Ranks
    list_ranks: dict[float, Ranks]
    scanned: dict[float, npt.NDArray[np.float64]]
    most: int

    def found_by(self, probe: Probe) -> npt.NDArray[np.bool_]:
        """Whether a probe finds each item: bool [Q, depth]."""
        seen = (self.code_ranks < probe.rescored) & (
            self.list_ranks[probe.spread_weight] < probe.lists
        )
        return seen | (self.code_ranks < 0)


def measure_probes(
    lists: Lists, table: Vectors, users: Vectors
) -> tuple[tuple[Probe, ...], tuple[Probe, ...]]:
    """The cheapest probe for each depth; the same where the items a search had found are excluded.

    Where all items that a search found are excluded, as a service's own answers are, the missed
    ones are left: to find those, the next search must be wider than the first.

    Args:
        table: float32 [N+1, D].
        users: float32 [Q, D].
    """
    n_items = len(table) - 1
    probes: list[Probe] = []
    wide_probes: list[Probe] = []
    with Progress("measuring recall", 2, "part") as progress:
        for low, high, some in (
            (0, _SHALLOW, users),
            (_SHALLOW, n_items, users[:: -(-len(users) // _DEEP_QUERIES)]),
        ):
            plain = [depth for depth in DEPTHS if low < depth <= min(high, n_items // 10)]
            wide = [depth for depth in WIDE_DEPTHS if low < depth <= min(high, n_items // 10)]
            if plain or wide:
                deepest = max(plain + wide)
                # Some of the best items are missed at first; they lie no deeper than this.
                observation = _look(
                    lists, some, find_best(table, some, deepest + deepest // 20 + 50)
                )
                probes += [_cheapest(depth, _first(depth), observation) for depth in plain]
                wide_probes += [
                    _cheapest(depth, _left(depth, probes, observation), observation)
                    for depth in wide
                ]
            progress.advance()
    return tuple(probes), tuple(wide_probes)


Choice = Callable[[Ranks], npt.NDArray[np.bool_]]
"""Whether each of the best items [Q, depth] is wanted: bool, the same shape."""


def _first(depth: int) -> Choice:
    return lambda items: np.broadcast_to(np.arange(items.shape[1]) < depth, items.shape)


def _left(depth: int, probes: list[Probe], observation: _Observation) -> Choice:
    """The best items after all results of a plain search but the last ten are excluded."""
    found = observation.found_by(next((p for p in probes if p.depth >= depth), probes[-1]))
    excluded = found & (np.cumsum(found, axis=1) <= depth - _LEFT)
    left = ~excluded
    return lambda _: left & (np.cumsum(left, axis=1) <= _LEFT)


def _look(lists: Lists, users: Vectors, best: Ranks) -> _Observation:
    index, depth = lists.index, best.shape[1]
    most = min(index.ntotal, _MAX_RESCORED * depth + 100)
    code_ranks = np.full(best.shape, most, dtype=np.int64)
    rank_of_item = np.full(len(lists.list_ids), most, dtype=np.int64)
    everything = faiss.SearchParametersIVF(nprobe=index.nlist)
    with Progress("searching all lists", len(users), "user") as progress:
        for number, user in enumerate(users):
            _, found = index.search(user[None], most, params=everything)
            rank_of_item[found[0]] = np.arange(most)
            code_ranks[number] = rank_of_item[best[number]]
            rank_of_item[found[0]] = most
            progress.advance()
    code_ranks[~lists.listed[best]] = -1
    sizes = np.bincount(lists.list_ids[lists.listed], minlength=index.nlist)
    centres = index.quantizer.reconstruct_n(0, index.nlist)
    list_ranks, scanned = {}, {}
    for spread_weight in _SPREAD_WEIGHTS:
        ranked = np.stack(
            [rank_lists(centres @ user, user, lists.list_stds, spread_weight) for user in users]
        )
        order = np.argsort(-ranked, axis=1, kind="stable")
        rank_of = np.empty_like(order)
        np.put_along_axis(rank_of, order, np.arange(index.nlist)[None], axis=1)
        list_ranks[spread_weight] = np.take_along_axis(
            rank_of, lists.list_ids[best].astype(np.int64), axis=1
        )
        scanned[spread_weight] = np.concatenate(([0.0], np.cumsum(sizes[order].mean(axis=0))))
    return _Observation(best, code_ranks, list_ranks, scanned, most)


def _cheapest(depth: int, choose: Choice, observation: _Observation) -> Probe:
    """The fastest probe that reaches the needed recall of the wanted items."""
    wanted = choose(observation.items)
    probes = [
        _fewest_rescored(depth, spread_weight, share, wanted, observation)
        for spread_weight in observation.list_ranks
        for share in _LISTS_RECALLS
    ]
    enough = [probe for probe in probes if probe.recall >= NEEDED_RECALL]
    if not enough:
        return max(probes, key=lambda probe: probe.recall)
    return min(enough, key=lambda probe: _cost_ns(probe, observation))


def _fewest_rescored(
    depth: int,
    spread_weight: float,
    share: float,
    wanted: npt.NDArray[np.bool_],
    observation: _Observation,
) -> Probe:
    """The fewest sufficient candidates, in the lists of a share of the wanted items."""
    codes, ranks = observation.code_ranks[wanted], observation.list_ranks[spread_weight][wanted]
    listed = ranks[codes >= 0]
    n_lists = int(np.quantile(listed, share, method="higher")) + 1 if len(listed) else 1
    # Items in none of these lists are not found.
    codes = np.where((ranks < n_lists) | (codes < 0), codes, observation.most)
    last = int(np.quantile(codes, NEEDED_RECALL, method="higher"))
    rescored = min(max(depth + 16, last + 1), observation.most)
    recall = float(np.mean(codes < rescored))
    return Probe(
        depth=depth,
        lists=n_lists,
        spread_weight=spread_weight,
        rescored=rescored,
        recall=round(recall, 5),
    )


def _cost_ns(probe: Probe, observation: _Observation) -> float:
    n_codes = float(observation.scanned[probe.spread_weight][probe.lists])
    return probe.lists * _LIST_NS + n_codes * _CODE_NS + probe.rescored * _CANDIDATE_NS


def find_best(table: Vectors, users: Vectors, depth: int) -> Ranks:
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


def _largest(scores: Vectors, count: int) -> Ranks:
    """Columns of the largest numbers of each row, in no order."""
    count = min(count, scores.shape[1])
    columns: Ranks = np.argpartition(-scores, count - 1, axis=1)[:, :count]
    return columns
