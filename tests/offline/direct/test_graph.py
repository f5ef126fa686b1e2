"""The graph of interactions, against dense matrices of the papers' formulas."""

from __future__ import annotations

import numpy as np
import torch

from offline.direct.graph import Graph, propagate

SEQUENCES = [np.array(row, np.int32) for row in ([1, 2, 2], [2, 3, 5], [], [5])]
N_ITEMS = 5


def dense_adjacency() -> np.ndarray:
    """LightGCN equations 6 and 8, item_index 0 a node without edges."""
    interactions = np.zeros((len(SEQUENCES), N_ITEMS + 1))
    for user, sequence in enumerate(SEQUENCES):
        interactions[user, sequence] = 1
    users, items = interactions.shape
    adjacency = np.zeros((users + items, users + items))
    adjacency[:users, users:], adjacency[users:, :users] = interactions, interactions.T
    degrees = adjacency.sum(axis=1)
    roots = np.divide(1, np.sqrt(degrees), out=np.zeros_like(degrees), where=degrees > 0)
    return roots[:, None] * adjacency * roots[None, :]


def test_a_pair_is_one_edge_however_often_it_happened() -> None:
    graph = Graph.of_sequences(SEQUENCES, N_ITEMS)
    edges = list(zip(graph.users.tolist(), graph.items.tolist(), strict=True))
    assert edges == [(0, 1), (0, 2), (1, 2), (1, 3), (1, 5), (3, 5)]
    assert len(graph) == 6


def test_propagation_is_the_dense_product_of_every_layer() -> None:
    adjacency = Graph.of_sequences(SEQUENCES, N_ITEMS).adjacency()
    dense = dense_adjacency()
    np.testing.assert_allclose(adjacency.to_dense().numpy(), dense, atol=1e-6)
    start = np.random.default_rng(0).standard_normal((len(dense), 3)).astype(np.float32)
    by_layer = propagate(adjacency, torch.from_numpy(start), layers=3)
    for layer, vectors in enumerate(by_layer):
        wanted = np.linalg.matrix_power(dense, layer) @ start
        np.testing.assert_allclose(vectors.numpy(), wanted, atol=1e-5)


def test_the_gradient_is_that_of_the_dense_product() -> None:
    adjacency = Graph.of_sequences(SEQUENCES, N_ITEMS).adjacency()
    dense = torch.from_numpy(dense_adjacency()).float()
    start = torch.randn(len(dense), 3, generator=torch.Generator().manual_seed(0))
    weights = torch.arange(start.numel(), dtype=torch.float32).reshape(start.shape)
    found, wanted = start.clone().requires_grad_(), start.clone().requires_grad_()
    (torch.stack(propagate(adjacency, found, 2)).mean(dim=0) * weights).sum().backward()
    means = (wanted + dense @ wanted + dense @ dense @ wanted) / 3
    (means * weights).sum().backward()
    assert found.grad is not None
    torch.testing.assert_close(found.grad, wanted.grad)


def test_a_view_lacks_about_the_share_of_the_edges_and_has_no_others() -> None:
    rng = np.random.default_rng(0)
    sequences = [rng.permutation(np.arange(1, 101, dtype=np.int32))[:50] for _ in range(20)]
    graph = Graph.of_sequences(sequences, 100)
    first, second = (graph.without(0.2, rng) for _ in range(2))
    edges = set(zip(graph.users.tolist(), graph.items.tolist(), strict=True))
    for view in (first, second):
        kept = set(zip(view.users.tolist(), view.items.tolist(), strict=True))
        assert kept < edges
        assert 0.75 < len(kept) / len(edges) < 0.85
    assert len(first) != len(second) or not np.array_equal(first.items, second.items)
