"""The networks of direct models: from a graph to vectors of users and items, and a loss.

A network holds a vector of each user and item, and answers `vectors`, by which it ranks.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
import torch
from torch import Tensor, nn

from offline.direct.config import (
    DirectConfig,
    FactorConfig,
    GraphConfig,
    LightgcnConfig,
    MfConfig,
    MixgcfConfig,
    SglConfig,
)
from offline.direct.graph import Graph, propagate
from offline.direct.losses import bpr_loss, contrastive_loss, squared_lengths
from offline.direct.mixing import mix_negatives
from offline.direct.triples import Triples

_INITIAL_STD = 0.1


class FactorNetwork(nn.Module, ABC):
    """A network over a graph.

    Args:
        config: its settings.
        graph: of the training interactions.

    Attributes:
        embedding: float32 [U+N+1, D], users first, then item_table rows.
        n_negatives: items that a triple of `loss` has besides the user's own.
    """

    n_negatives = 1

    def __init__(self, config: FactorConfig, graph: Graph) -> None:
        super().__init__()
        self.graph = graph
        self._regularisation = config.regularisation
        n_nodes = graph.n_users + graph.n_items + 1
        self.embedding = nn.Parameter(torch.randn(n_nodes, config.embedding_size) * _INITIAL_STD)

    def begin_epoch(self, rng: np.random.Generator) -> None:
        """Draw what is kept for an epoch."""

    @abstractmethod
    def vectors(self) -> Tensor:
        """Vectors of all nodes, float32 [U+N+1, D]; a score is the product of two of them."""

    @abstractmethod
    def loss(self, triples: Triples, rng: np.random.Generator) -> Tensor:
        """Mean loss of a batch, a scalar with gradients."""

    def _nodes(self, triples: Triples) -> tuple[Tensor, Tensor, Tensor]:
        """Rows of the vectors: int64 [B], [B], [B, M]."""
        users, items = torch.from_numpy(triples.users), torch.from_numpy(triples.items)
        negatives = torch.from_numpy(triples.negatives)
        return users, items + self.graph.n_users, negatives + self.graph.n_users

    def _ranking_loss(self, vectors: Tensor, triples: Triples) -> Tensor:
        """BPR's loss and its regularisation (BPR section 4.1; LightGCN equation 15), a mean."""
        users, items, negatives = self._nodes(triples)
        negatives = negatives[:, 0]
        of_users = vectors[users]
        loss = bpr_loss(
            (of_users * vectors[items]).sum(dim=1), (of_users * vectors[negatives]).sum(dim=1)
        )
        return (loss + self._penalty(users, items, negatives)) / len(triples)

    def _penalty(self, *nodes: Tensor) -> Tensor:
        """Of the vectors before propagation, which are the parameters."""
        return self._regularisation * squared_lengths(*(self.embedding[part] for part in nodes))


class Mf(FactorNetwork):
    """Matrix factorisation by BPR (Rendle et al., 2009)."""

    def vectors(self) -> Tensor:
        """The parameters as they are."""
        return self.embedding

    def loss(self, triples: Triples, rng: np.random.Generator) -> Tensor:  # noqa: ARG002
        """BPR's."""
        return self._ranking_loss(self.embedding, triples)


class Lightgcn(FactorNetwork):
    """Linear propagation over the graph (He et al., 2020)."""

    def __init__(self, config: GraphConfig, graph: Graph) -> None:
        super().__init__(config, graph)
        self.layers = config.layers
        self._adjacency = graph.adjacency()

    def vectors(self) -> Tensor:
        """The mean over the layers (equation 4, with α_k = 1 / (K + 1))."""
        return self._mean_over(self._adjacency)

    def loss(self, triples: Triples, rng: np.random.Generator) -> Tensor:  # noqa: ARG002
        """BPR's (equation 15)."""
        return self._ranking_loss(self.vectors(), triples)

    def _by_layer(self, adjacency: Tensor) -> list[Tensor]:
        return propagate(adjacency, self.embedding, self.layers)

    def _mean_over(self, adjacency: Tensor) -> Tensor:
        return torch.stack(self._by_layer(adjacency)).mean(dim=0)


class Sgl(Lightgcn):
    """LightGCN with a contrast of two views that lack some edges each (Wu et al., 2021)."""

    def __init__(self, config: SglConfig, graph: Graph) -> None:
        super().__init__(config, graph)
        self._dropout, self._weight = config.edge_dropout, config.contrast_weight
        self._temperature = config.contrast_temperature
        self._views = (self._adjacency, self._adjacency)

    def begin_epoch(self, rng: np.random.Generator) -> None:
        """Draw the two views (section 3.1, edge dropout)."""
        first, second = (self.graph.without(self._dropout, rng).adjacency() for _ in range(2))
        self._views = first, second

    def loss(self, triples: Triples, rng: np.random.Generator) -> Tensor:
        """BPR's and the contrast's, of users and of items (equations 10 and 11)."""
        users, items, _ = self._nodes(triples)
        first, second = (self._mean_over(view) for view in self._views)
        contrasts = [
            contrastive_loss(first[nodes], second[nodes], self._temperature)
            for nodes in map(torch.unique, (users, items))
        ]
        return super().loss(triples, rng) + self._weight * torch.stack(contrasts).sum()


class Mixgcf(Lightgcn):
    """LightGCN with negatives mixed of candidates (Huang et al., 2021)."""

    def __init__(self, config: MixgcfConfig, graph: Graph) -> None:
        super().__init__(config, graph)
        self.n_negatives = config.candidates

    def loss(self, triples: Triples, rng: np.random.Generator) -> Tensor:
        """BPR's with a mixed negative in place of the drawn one (equation 8)."""
        users, items, candidates = self._nodes(triples)
        layers = torch.stack(self._by_layer(self._adjacency), dim=1)
        of_users, of_items = layers[users], layers[items]
        negatives = mix_negatives(of_users, of_items, layers[candidates], rng)
        pooled = of_users.mean(dim=1)
        loss = bpr_loss((pooled * of_items.mean(dim=1)).sum(dim=1), (pooled * negatives).sum(dim=1))
        return (loss + self._penalty(users, items, candidates[:, 0])) / len(triples)


def new_network(config: DirectConfig, graph: Graph) -> FactorNetwork:
    """The network that a configuration describes, not yet trained."""
    if isinstance(config, MfConfig):
        return Mf(config, graph)
    if isinstance(config, SglConfig):
        return Sgl(config, graph)
    if isinstance(config, MixgcfConfig):
        return Mixgcf(config, graph)
    assert isinstance(config, LightgcnConfig)  # noqa: S101 - the last one
    return Lightgcn(config, graph)
