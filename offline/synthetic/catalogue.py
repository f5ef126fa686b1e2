"""Ids and attributes of synthetic items."""

from __future__ import annotations

import numpy as np

from model_store.attributes import Attribute, ItemAttributes
from model_store.id_map import IdMap
from offline.synthetic.world import World

GENRES = tuple(f"genre {letter}" for letter in "ABCDEFGHIJKLMNOPQRST")
RARE = "rare"
"""The value of `shelf` that exactly one in a hundred items holds."""
_SHELVES = ("front", "middle", "back")
_SECOND_GENRE = 0.4


def make_ids(n_items: int) -> IdMap:
    """i1 … iN."""
    return IdMap([f"i{number}" for number in range(1, n_items + 1)])


def make_attributes(world: World) -> ItemAttributes:
    """A title, `genres` that depend on the clusters, and `shelf`, which is random."""
    rng = np.random.default_rng([world.seed, world.n_items, 1])
    n_items = world.n_items
    genre = world.clusters()[1:] % len(GENRES)
    second = np.where(
        rng.random(n_items) < _SECOND_GENRE, rng.integers(0, len(GENRES), n_items), genre
    )
    genres = [
        [GENRES[one]] if one == other else [GENRES[one], GENRES[other]]
        for one, other in zip(genre.tolist(), second.tolist(), strict=True)
    ]
    shelf = np.array(_SHELVES, dtype=object)[rng.integers(0, len(_SHELVES), n_items)]
    shelf[rng.permutation(n_items)[: n_items // 100]] = RARE
    titles = [f"Item {number}" for number in range(1, n_items + 1)]
    return ItemAttributes(
        [
            Attribute("title", "text", titles),
            Attribute("genres", "list", genres),
            Attribute("shelf", "text", shelf.tolist()),
        ],
        n_items,
    )
