"""A user's vector from the items of a history: for users of the training and for all others.

u = c (YᵀY + λI)⁻¹ ȳ, with the mean ȳ of the history's item vectors, is the ridge regression of each
item's share in the history (0 where it isn't there) on the item vectors (Hu et al., 2008, all with
one confidence). With a large λ it is the direction of the mean itself. The matrix [D, D] is made
once for all users, when the model is trained.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from offline.data.histories import Histories
from offline.recommender.backbone import CausalBackbone

Vectors = npt.NDArray[np.float32]

PENALTIES = (0.01, 0.1, 1.0, 10.0, 1000.0)
"""λ to choose among, as multiples of the mean diagonal of YᵀY; the last one is the mean."""


@dataclass(frozen=True)
class FoldIn:
    """A user's vector as the mean of the history's item vectors by a matrix.

    Attributes:
        matrix: float32 [D, D].
        penalty: λ that it was made with, a multiple of the mean diagonal of YᵀY.
    """

    matrix: Vectors
    penalty: float

    @classmethod
    def of(cls, table: Vectors, users: Vectors, histories: Histories, penalty: float) -> FoldIn:
        """The regression on a table, scaled so that scores are as large as the trained ones.

        Differences of scores are then BPR's logits, which rules and boosts count in.

        Args:
            table: float32 [N+1, D], row 0 zeros.
            users: trained vectors, float32 [U, D].
            histories: of these users.
            penalty: see `penalty`.
        """
        gram = table.T.astype(np.float64) @ table
        level = float(np.trace(gram)) / len(gram) or 1.0
        matrix = np.linalg.inv(gram / level + penalty * np.eye(len(gram)))
        folded = mean_items(table, histories) @ matrix
        length = float(np.linalg.norm(folded))
        scale = float(np.linalg.norm(users)) / length if length > 0 else 1.0
        return cls((matrix * scale).astype(np.float32), penalty)

    def users(self, table: Vectors, histories: Histories) -> Vectors:
        """float32 [B, D]; zeros for empty histories."""
        return mean_items(table, histories) @ self.matrix


def choose_fold_in(make: Callable[[float], FoldIn], measure: Callable[[FoldIn], float]) -> FoldIn:
    """The one of the penalties with the highest figure; of equal ones that with the smallest."""
    return max(map(make, PENALTIES), key=measure)


def mean_items(table: Vectors, histories: Histories) -> Vectors:
    """The mean of the item vectors of each history, float32 [B, D]; zeros for an empty one."""
    means = np.zeros((len(histories), table.shape[1]), np.float32)
    for row, history in enumerate(histories):
        means[row] = table[history].sum(axis=0) / max(1, len(history))
    return means


class FoldInGraph(CausalBackbone):
    """The fold-in as the network whose graph is exported."""

    def __init__(self, fold_in: FoldIn) -> None:
        super().__init__()
        self.matrix = nn.Parameter(torch.from_numpy(fold_in.matrix), requires_grad=False)

    def forward(self, items: Tensor, present: Tensor) -> Tensor:
        """The user's vector after each position, float32 [B, L, D]."""
        sums = (items * present[:, :, None]).cumsum(dim=1)
        users: Tensor = sums / present.cumsum(dim=1).clamp(min=1)[:, :, None] @ self.matrix
        return users

    def last(self, items: Tensor, present: Tensor) -> Tensor:
        """The user's vector after the whole history, float32 [B, D]."""
        sums = (items * present[:, :, None]).sum(dim=1)
        users: Tensor = sums / present.sum(dim=1).clamp(min=1)[:, None] @ self.matrix
        return users
