"""Losses of direct models."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def bpr_loss(preferred: Tensor, others: Tensor) -> Tensor:
    """-Σ log σ(ŷ_ui - ŷ_uj), a scalar: Llama4Rec equation 2 of observed triples, 3 of D'.

    Args:
        preferred: scores ŷ_ui of the preferred items, float32 [T].
        others: scores ŷ_uj of the other items, float32 [T].
    """
    return -F.logsigmoid(preferred - others).sum()


def contrastive_loss(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """-mean log softmax of a node's cosine with itself in the other view (SGL equation 10).

    The other nodes of the batch are the negatives.

    Args:
        first: vectors of the nodes in one view, float32 [M, D].
        second: of the same nodes in the other, float32 [M, D].
        temperature: τ.
    """
    cosines = F.normalize(first) @ F.normalize(second).T
    return F.cross_entropy(cosines / temperature, torch.arange(len(first)))


def squared_lengths(*vectors: Tensor) -> Tensor:
    """½ Σ ‖e‖², a scalar, of the vectors of a batch."""
    return torch.stack([part.square().sum() for part in vectors]).sum() / 2
