"""The bipartite graph of users and items that training interactions make."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse
import torch
from torch import Tensor

from offline.data.histories import Histories

Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Graph:
    """Which users interacted with which items, each pair once.

    Attributes:
        n_users: U, rows of the users' vectors.
        n_items: N; item_index 0 is a node without edges, so that rows are item_table rows.
        users, items: int64 [E], the ends of the edges.
    """

    n_users: int
    n_items: int
    users: Int64
    items: Int64

    @classmethod
    def of_sequences(cls, sequences: Histories, n_items: int) -> Graph:
        """The graph of training sequences, row u that of user u."""
        lengths = [len(sequence) for sequence in sequences]
        users = np.repeat(np.arange(len(sequences), dtype=np.int64), lengths)
        items = np.concatenate([*sequences, np.zeros(0, np.int32)]).astype(np.int64)
        edges = np.unique(users * (n_items + 1) + items)
        users, items = np.divmod(edges, n_items + 1)
        return cls(len(sequences), n_items, users, items)

    def __len__(self) -> int:
        """Number of edges E."""
        return len(self.users)

    def without(self, share: float, rng: np.random.Generator) -> Graph:
        """The graph with each edge dropped by this probability (SGL section 3.1, edge dropout)."""
        kept = rng.random(len(self)) >= share
        return Graph(self.n_users, self.n_items, self.users[kept], self.items[kept])

    def adjacency(self) -> Tensor:
        """D^-1/2 A D^-1/2 (LightGCN equation 8), symmetric, sparse CSR float32 [U+N+1, U+N+1].

        Users are the first U nodes. Rows of nodes without edges are empty.
        """
        n_nodes = self.n_users + self.n_items + 1
        items = self.items + self.n_users
        degrees = np.bincount(np.concatenate([self.users, items]), minlength=n_nodes)
        weights = 1.0 / np.sqrt(degrees[self.users] * degrees[items])
        matrix = scipy.sparse.coo_matrix(
            (
                np.concatenate([weights, weights]).astype(np.float32),
                (np.concatenate([self.users, items]), np.concatenate([items, self.users])),
            ),
            shape=(n_nodes, n_nodes),
        ).tocsr()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # sparse CSR is in beta
            return torch.sparse_csr_tensor(
                torch.from_numpy(matrix.indptr.astype(np.int64)),
                torch.from_numpy(matrix.indices.astype(np.int64)),
                torch.from_numpy(matrix.data),
                size=matrix.shape,
                check_invariants=False,
            )


def propagate(adjacency: Tensor, vectors: Tensor, layers: int) -> list[Tensor]:
    """E^(0) … E^(L) with E^(k+1) = (D^-1/2 A D^-1/2) E^(k) (LightGCN equation 7).

    Args:
        adjacency: as `Graph.adjacency` gives it.
        vectors: E^(0), float32 [U+N+1, D].
        layers: L.
    """
    by_layer = [vectors]
    for _ in range(layers):
        by_layer.append(_Symmetric.apply(adjacency, by_layer[-1]))  # type: ignore[no-untyped-call]
    return by_layer


class _Symmetric(torch.autograd.Function):
    """A product with a symmetric constant: its gradient is the same product, without a transpose.

    torch's own gradient of a sparse product takes several times as long.
    """

    @staticmethod
    def forward(ctx: Any, matrix: Tensor, vectors: Tensor) -> Tensor:
        ctx.matrix = matrix
        return matrix @ vectors

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor]:
        return None, ctx.matrix @ gradient
