"""A rating network: rows of a user and of items, their first-order terms, and an interaction.

All that is known of one user, or of one item, is a row that doesn't depend on the other side: for
each field a first-order weight and an embedding. Rows of all users and of all items are computed
once, at export; a request reads rows and runs the interaction alone. The second half of a user's
row is the mean over the rated items, so that a history makes a row for a user nobody knew.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy import sparse
from torch import Tensor, nn

from offline.rating.config import RatingConfig
from offline.rating.fields import ItemFields
from offline.rating.networks import new_interaction
from offline.rating.ratings import Ratings

MAX_RATED = 200
"""Items that a user rated which are read for the field of rated items, the last of them."""
USER_FIELDS = 2
_STD = 0.05  # of initial embeddings


def rated_means(ratings: Ratings, n_users: int, n_items: int) -> sparse.csr_array:
    """Weights of the mean over the items that each user rated in training, whatever the rating.

    float32 [U+1, N+1]; row 0 is empty. Of each user the last `MAX_RATED` are read.
    """
    order = np.argsort(ratings.users, kind="stable")
    users, items = ratings.users[order], ratings.items[order]
    n_after = np.searchsorted(users, users, side="right") - np.arange(len(users))
    kept = n_after <= MAX_RATED
    return _means_of(users[kept], items[kept], (n_users + 1, n_items + 1))


def value_means(values: npt.NDArray[np.int32], n_values: int) -> sparse.csr_array:
    """Weights of the mean over the values that each item has of a field, float32 [N+1, V+1].

    Args:
        values: int32 [N+1, MAX_VALUES], 0 where there is no further one.
        n_values: V.
    """
    items, places = np.nonzero(values)
    return _means_of(items, values[items, places], (len(values), n_values + 1))


def _means_of(
    rows: npt.NDArray[np.integer], columns: npt.NDArray[np.integer], shape: tuple[int, int]
) -> sparse.csr_array:
    weights = (1 / np.maximum(np.bincount(rows, minlength=shape[0]), 1)).astype(np.float32)
    return sparse.csr_array((weights[rows], (rows, columns)), shape=shape)


class _Mix(torch.autograd.Function):
    """Rows of a sparse matrix times a dense one; torch's own takes ten times as long on a CPU."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, matrix: sparse.csr_array) -> Tensor:
        ctx.matrix = matrix
        return torch.from_numpy(matrix @ weight.detach().numpy())

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return torch.from_numpy(ctx.matrix.T @ gradient.numpy()), None


def _mix(weight: Tensor, matrix: sparse.csr_array) -> Tensor:
    mixed: Tensor = _Mix.apply(weight, matrix)  # type: ignore[no-untyped-call]
    return mixed


class Features(nn.Module):
    """Embeddings of user, rated items, item and attribute values, each with a first-order weight.

    The rated items are those of Rendle's factorisation machines (2010, section 2): a field of the
    user whose embedding is the mean over them.
    """

    def __init__(self, size: int, rated: sparse.csr_array, fields: ItemFields) -> None:
        super().__init__()
        self._rated = rated
        self._values = [value_means(values, fields.n_values) for values in fields.values]
        n_users, n_items = rated.shape[0] - 1, rated.shape[1] - 1
        self.user, self.rated, self.item, self.value = (
            _embedding(n, size) for n in (n_users, n_items, n_items, fields.n_values)
        )

    @property
    def n_fields(self) -> int:
        """F, of user and item together."""
        return USER_FIELDS + 1 + len(self._values)

    def user_rows(self, users: Tensor) -> Tensor:
        """Rows float32 [B, 2 (1 + D)] of user_indices int64 [B]: the user, then the rated items."""
        different, places = np.unique(users.numpy(), return_inverse=True)
        rated = _mix(self.rated.weight, self._rated[different])[torch.from_numpy(places)]
        return torch.cat([self.user(users), rated], dim=-1)

    def item_rows(self, items: Tensor) -> Tensor:
        """Rows float32 [B, (F - 2) (1 + D)] of item_indices int64 [B]: item, then fields."""
        rows = items.numpy()
        values = [_mix(self.value.weight, means[rows]) for means in self._values]
        return torch.cat([self.item(items), *values], dim=-1)


def _embedding(n: int, size: int) -> nn.Embedding:
    """Rows 0..n of a first-order weight and an embedding; row 0 stays zeros."""
    embedding = nn.Embedding(n + 1, 1 + size, padding_idx=0)
    nn.init.normal_(embedding.weight, std=_STD)
    with torch.no_grad():
        embedding.weight[:, 0] = 0
        embedding.weight[0] = 0
    return embedding


class ServedNetwork(nn.Module):
    """Ratings of rows: what is exported.

    Args:
        interaction: from [B, F, D] to [B].
        size: D.
    """

    def __init__(self, interaction: nn.Module, size: int) -> None:
        super().__init__()
        self.interaction, self.size = interaction, size
        self.mean = nn.Parameter(torch.zeros(()))

    def forward(self, user: Tensor, items: Tensor) -> Tensor:
        """Ratings float32 [B], not clipped: mean, first-order weights, and the interaction.

        Args:
            user: float32 [B, 2 (1 + D)], or [1, 2 (1 + D)] for all items.
            items: float32 [B, (F - 2) (1 + D)].
        """
        rows = torch.cat([user.expand(items.shape[0], -1), items], dim=-1)
        fields = rows.reshape(items.shape[0], -1, 1 + self.size)
        answer: Tensor = self.mean + fields[..., 0].sum(dim=-1) + self.interaction(fields[..., 1:])
        return answer


class RatingNetwork(nn.Module):
    """The whole network in training."""

    def __init__(self, config: RatingConfig, rated: sparse.csr_array, fields: ItemFields) -> None:
        super().__init__()
        self.features = Features(config.embedding_size, rated, fields)
        interaction = new_interaction(self.features.n_fields, config)
        self.served = ServedNetwork(interaction, config.embedding_size)

    def forward(self, users: Tensor, items: Tensor) -> Tensor:
        """Ratings float32 [B] of user_indices and item_indices int64 [B]."""
        rows = self.features.user_rows(users), self.features.item_rows(items)
        answer: Tensor = self.served(*rows)
        return answer
