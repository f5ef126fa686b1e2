"""Triples: every edge once, and negatives that the user doesn't have."""

from __future__ import annotations

import numpy as np

from offline.direct.graph import Graph
from offline.direct.triples import TripleSampler

# The third user has every item.
SEQUENCES = [np.array(row, np.int32) for row in ([1, 2, 3], [6], [1, 2, 3, 4, 5, 6], [2, 4, 5, 6])]
GRAPH = Graph.of_sequences(SEQUENCES, 6)


def test_an_epoch_has_every_edge_once_but_those_of_users_without_a_negative() -> None:
    batches = TripleSampler(GRAPH, batch_size=3).batches(np.random.default_rng(0))
    assert [len(batch) for batch in batches] == [3, 3, 2]
    pairs = [
        pair
        for batch in batches
        for pair in zip(batch.users.tolist(), batch.items.tolist(), strict=True)
    ]
    wanted = [(user, int(item)) for user in (0, 1, 3) for item in SEQUENCES[user]]
    assert sorted(pairs) == sorted(wanted)


def test_negatives_are_all_the_items_that_a_user_lacks() -> None:
    sampler, rng = TripleSampler(GRAPH, batch_size=100, n_negatives=5), np.random.default_rng(0)
    drawn: dict[int, set[int]] = {}
    for _ in range(20):
        for batch in sampler.batches(rng):
            assert batch.negatives.shape == (len(batch), 5)
            for user, negatives in zip(batch.users.tolist(), batch.negatives, strict=True):
                drawn.setdefault(user, set()).update(negatives.tolist())
    everything = set(range(1, 7))
    assert drawn == {user: everything - set(SEQUENCES[user].tolist()) for user in (0, 1, 3)}


def test_a_seed_gives_the_same_triples() -> None:
    first, second = (
        TripleSampler(GRAPH, batch_size=100).batches(np.random.default_rng(3))[0] for _ in range(2)
    )
    np.testing.assert_array_equal(first.users, second.users)
    np.testing.assert_array_equal(first.negatives, second.negatives)
