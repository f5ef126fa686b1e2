"""A synthetic world of items and people: latent clusters, Zipf popularity, drifting interest.

A person has a few home clusters. From one interaction to the next they mostly stay in a cluster,
sometimes go to a neighbouring one, seldom home. Within a cluster they take popular items (Zipf with
exponent 1) or the item that follows the previous one, so that order is informative.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Items = npt.NDArray[np.int32]
Ints = npt.NDArray[np.int64]

MAX_DISTINCT = 1_000_000
"""Largest number of distinct items; in a larger world items repeat in groups."""
_ITEMS_PER_CLUSTER = 250
_FEWEST_CLUSTERS = 16
_HOMES = 2
_NEIGHBOURS = 4
# Probabilities of a step; otherwise it stays in the cluster.
_TO_NEIGHBOUR, _TO_HOME = 0.15, 0.07
_FOLLOWING = 0.45  # within the cluster: an item shortly after the previous one
_LEAP = 5


@dataclass(frozen=True)
class World:
    """N items in clusters, numbered at random.

    Attributes:
        seed: decides everything, with the number of items.
        starts: int64 [C+1], slots of cluster c are `starts[c]:starts[c + 1]`, popular ones first.
        item_at: int32 [N], item_index of each slot.
    """

    seed: int
    starts: Ints
    item_at: Items

    @classmethod
    def of_size(cls, n_items: int, seed: int) -> World:
        """A world of `n_items` items; cluster sizes vary by a factor of some tens.

        Beyond a million items it is the world of a million, every item of which is there several
        times: item_index i stands for `(i - 1) % MAX_DISTINCT + 1`.
        """
        if n_items > MAX_DISTINCT:
            return cls.of_size(MAX_DISTINCT, seed)._repeated(n_items)
        rng = np.random.default_rng([seed, n_items])
        n_clusters = max(_FEWEST_CLUSTERS, n_items // _ITEMS_PER_CLUSTER)
        shares = rng.lognormal(sigma=0.8, size=n_clusters)
        ends = np.round(np.cumsum(shares) / shares.sum() * n_items).astype(np.int64)
        starts = np.concatenate(([0], ends))
        starts[-1] = n_items
        return cls(seed, starts, rng.permutation(n_items).astype(np.int32) + np.int32(1))

    def _repeated(self, n_items: int) -> World:
        copies = np.arange(-(-n_items // self.n_items), dtype=np.int64) * self.n_items
        slots = self.item_at[:, None] + copies
        there = slots <= n_items
        ends = np.concatenate(([0], np.cumsum(there.sum(axis=1))))[self.starts]
        return World(self.seed, ends, slots[there].astype(np.int32))

    @property
    def n_items(self) -> int:
        """N."""
        return len(self.item_at)

    @property
    def n_clusters(self) -> int:
        """C."""
        return len(self.starts) - 1

    def clusters(self) -> Items:
        """Cluster of each item, int32 [N+1]; -1 at padding."""
        of_item = np.full(self.n_items + 1, -1, dtype=np.int32)
        sizes = np.diff(self.starts)
        of_item[self.item_at] = np.repeat(np.arange(self.n_clusters, dtype=np.int32), sizes)
        return of_item

    def sequences(self, count: int, length: int, rng: np.random.Generator) -> Items:
        """Sequences of `count` people, int32 [count, length]; items may recur."""
        sizes = np.diff(self.starts)
        # The empty clusters of a tiny world are no home clusters.
        homes = rng.choice(np.flatnonzero(sizes), (count, _HOMES), p=_shares(sizes))
        cluster = homes[:, 0]
        rank = _zipf(sizes[cluster], rng)
        done = np.empty((count, length), dtype=np.int32)
        for step in range(length):
            done[:, step] = self.item_at[self.starts[cluster] + rank]
            after = self._next_cluster(cluster, homes, rng)
            follows = (after == cluster) & (rng.random(count) < _FOLLOWING)
            leap = rng.integers(1, _LEAP + 1, count)
            behind = (rank + leap) % sizes[after]
            rank = np.where(follows, behind, _zipf(sizes[after], rng))
            cluster = after
        return done

    def _next_cluster(self, cluster: Ints, homes: Ints, rng: np.random.Generator) -> Ints:
        count = len(cluster)
        draws = rng.random(count)
        hops = rng.integers(1, _NEIGHBOURS + 1, count)
        # Neighbours lie on a ring of clusters, at distances above one.
        neighbour = (cluster + hops * hops) % self.n_clusters
        home = homes[np.arange(count), rng.integers(0, _HOMES, count)]
        after = np.where(draws < _TO_NEIGHBOUR, neighbour, cluster)
        after = np.where(draws > 1 - _TO_HOME, home, after)
        return np.where(np.diff(self.starts)[after] > 0, after, cluster)


def histories_of_lengths(world: World, lengths: Ints, rng: np.random.Generator) -> list[Items]:
    """One history of exactly each length, oldest → newest, no item twice.

    Where a person's steps don't hold enough different items, random ones are added in front.
    """
    steps = world.sequences(len(lengths), 3 * int(lengths.max()), rng)
    histories = []
    for person, length in zip(steps, lengths.tolist(), strict=True):
        taken = person[: 3 * length]
        _, first = np.unique(taken, return_index=True)
        items = taken[np.sort(first)][-length:]
        if (lacking := length - len(items)) > 0:
            drawn = np.unique(rng.integers(1, world.n_items + 1, 8 * length + 100))
            others = rng.permutation(np.setdiff1d(drawn, items))
            items = np.concatenate([others[:lacking], items])
        histories.append(items.astype(np.int32))
    return histories


def _shares(sizes: Ints) -> npt.NDArray[np.float64]:
    held = sizes[sizes > 0]
    shares: npt.NDArray[np.float64] = held / held.sum()
    return shares


def _zipf(sizes: Ints, rng: np.random.Generator) -> Ints:
    """Ranks from 0, each below its size; rank r has a probability of about 1 / (r + 1), scaled."""
    drawn = (sizes + 1.0) ** rng.random(len(sizes))
    return np.minimum(drawn.astype(np.int64) - 1, sizes - 1)
