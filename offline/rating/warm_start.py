"""A rating network's start from an earlier one of the same shape, in place of random weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from scipy import sparse
from scipy.sparse.linalg import lsqr
from torch import Tensor

from model_store.id_map import IdMap
from offline.rating.fields import ItemFields
from offline.rating.network import RatingNetwork, value_means

if TYPE_CHECKING:
    from offline.rating.recommender import RatingRecommender

Float32 = npt.NDArray[np.float32]

_MAX_STEPS = 100
"""Of the solver; a start need not be exact."""


@dataclass(frozen=True)
class RatingStart:
    """The weights to begin with, in the numbers of the data set that is to be trained on.

    Rows are a first-order weight and an embedding; row 0 is zeros.

    Attributes:
        users: float32 [U+1, 1 + D].
        rated, items: float32 [N+1, 1 + D], of an item as one that the user rated, and as the rated.
        values: float32 [V+1, 1 + D], of attribute values.
        served: parameters of the network over rows, by name.
    """

    users: Float32
    rated: Float32
    items: Float32
    values: Float32
    served: Mapping[str, Tensor]

    def apply(self, network: RatingNetwork) -> None:
        """Put the weights into a network of that shape."""
        features = network.features
        with torch.no_grad():
            for embedding, rows in (
                (features.user, self.users),
                (features.rated, self.rated),
                (features.item, self.items),
                (features.value, self.values),
            ):
                embedding.weight.copy_(torch.from_numpy(rows))
        network.served.load_state_dict(dict(self.served))

    def parts(self) -> list[object]:
        """All that decides a result, for a fingerprint."""
        parts: list[object] = [self.users, self.rated, self.items, self.values]
        for name in sorted(self.served):
            parts += [name, self.served[name].numpy()]
        return parts


def carried(
    earlier: RatingRecommender,
    known: tuple[IdMap, IdMap],
    ids: tuple[Sequence[str], Sequence[str]],
    fields: ItemFields,
) -> RatingStart | None:
    """The weights of an earlier network for another data set.

    Users and items that it lacked begin with the mean row of those it had. It was saved with the
    rows of items alone, so the values of attributes are those that explain these rows best.

    Args:
        earlier: the network.
        known: of its users and of its items.
        ids: of the users and of the items of the data set.
        fields: of these items.

    Returns:
        None where the items had other attributes, so that the network has another shape.
    """
    size = 1 + earlier.config.embedding_size
    own, *of_fields = np.split(earlier.item_rows, earlier.item_rows.shape[1] // size, axis=1)
    names = earlier.field_names
    if len(of_fields) != len(fields.names) or (names is not None and names != fields.names):
        return None
    users, items = (
        np.array([0, *(map_.index_of(one) or 0 for one in of_kind)], dtype=np.int64)
        for map_, of_kind in zip(known, ids, strict=True)
    )
    values = np.zeros((fields.n_values + 1, size), np.float32)
    has = items > 0
    for of_field, rows in zip(fields.values, of_fields, strict=True):
        values += _explaining(value_means(of_field[has], fields.n_values), rows[items[has]])
    values[0] = 0.0
    return RatingStart(
        _rows(earlier.user_rows[:, :size], users),
        _rows(earlier.rated_rows, items),
        _rows(own, items),
        values,
        {name: tensor.clone() for name, tensor in earlier.served_network().state_dict().items()},
    )


def _rows(table: Float32, wanted: npt.NDArray[np.int64]) -> Float32:
    """Rows of a table by their numbers there, 0 for none; the first one is zeros."""
    rows: Float32 = table[wanted]
    rows[wanted == 0] = table[1:].mean(axis=0)
    rows[0] = 0.0
    return rows


def _explaining(means: sparse.csr_array, rows: Float32) -> Float32:
    """Values float32 [V+1, 1 + D] whose means are the rows [n, 1 + D], by least squares."""
    columns = [lsqr(means, column, iter_lim=_MAX_STEPS)[0] for column in rows.T]
    return np.stack(columns, axis=1).astype(np.float32)
