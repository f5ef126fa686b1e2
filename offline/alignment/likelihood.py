"""log p(y|x, s) of the recommender that is trained, and log p(y|x) of the one over ids.

Both are softmaxes over the items that have a training interaction. Others take no part, as in the
recommender's own training: their rows have learnt nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from offline.data.histories import Histories, pad_right
from offline.recommender.ensemble import EnsembleItems
from offline.recommender.item_encoder import ItemEncoder
from offline.recommender.network import SequenceNetwork
from offline.recommender.recommender import Vectors
from offline.recommender.text_projection import whiten

Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Whitening:
    """From vectors to the features that the recommender reads, fixed when alignment begins.

    mean: float32 [K]. axes: float32 [K, F].
    """

    mean: Tensor
    axes: Tensor

    @classmethod
    def of(cls, vectors: Vectors, size: int) -> Whitening:
        """The map by which `whiten` made features of the catalogue's vectors [N+1, K]."""
        rows = np.flatnonzero(vectors.any(axis=1))
        known = vectors[rows].astype(np.float64)
        mean = known.mean(axis=0)
        white = whiten(vectors, size)[rows].astype(np.float64)
        # Features are a linear function of deviations, so least squares find it without error.
        axes = np.linalg.lstsq(known - mean, white, rcond=1e-6)[0]
        return cls(
            torch.from_numpy(mean.astype(np.float32)), torch.from_numpy(axes.astype(np.float32))
        )

    def __call__(self, vectors: Tensor) -> Tensor:
        """Features float32 [..., F] of vectors [..., K]."""
        return (vectors - self.mean.to(vectors.device)) @ self.axes.to(vectors.device)


class IdLikelihood:
    """log p(y|x) of a network over ids, frozen.

    Args:
        network: on its device.
        is_trained: bool [N+1], items with a training interaction.
    """

    def __init__(self, network: SequenceNetwork, is_trained: npt.NDArray[np.bool_]) -> None:
        self._network = network.eval().requires_grad_(False)
        device = next(network.parameters()).device
        self._out = torch.from_numpy(~is_trained).to(device)
        with torch.no_grad():
            self._table: Tensor = network.items()

    @torch.no_grad()
    def log_p(self, histories: Histories, targets: Int64) -> npt.NDArray[np.float32]:
        """float32 [B]."""
        history = torch.from_numpy(pad_right(histories)).to(self._table.device)
        users = self._network.after_last(F.embedding(history, self._table), history != 0)
        logits = users @ self._table.T
        found: npt.NDArray[np.float32] = _log_p(logits, self._out, targets).cpu().numpy()
        return found


class TextLikelihood:
    """log p(y|x, s) of a network over ids and knowledge, with gradients.

    Attributes:
        network: on its device; its knowledge is that of all items as they are known now.
        whitening: made the network's features of the vectors.

    Args:
        is_trained: bool [N+1], items with a training interaction.
    """

    def __init__(
        self,
        network: SequenceNetwork,
        whitening: Whitening,
        is_trained: npt.NDArray[np.bool_],
    ) -> None:
        self.network, self.whitening = network, whitening
        self._out = torch.from_numpy(~is_trained).to(next(network.parameters()).device)

    def set_vectors(self, items: Sequence[int], vectors: Tensor) -> None:
        """Know items by other vectors [n, K] from now on."""
        rows = torch.tensor([*items])
        set_features(self.network, rows, self.whitening(vectors.detach()))

    def knowledge_tensors(self) -> dict[str, Tensor]:
        """Features of all items as they are known now, for a checkpoint."""
        return {
            f"knowledge/{number}": encoder.knowledge
            for number, encoder in enumerate(_encoders(self.network.items))
            if encoder.knowledge is not None
        }

    def restore_knowledge(self, tensors: dict[str, Tensor]) -> None:
        """Know items as a checkpoint's did."""
        for name, features in self.knowledge_tensors().items():
            features.copy_(tensors[name])

    def log_p(self, histories: Histories, targets: Int64, items: Int64, vectors: Tensor) -> Tensor:
        """float32 [B].

        Args:
            histories: x of each.
            targets: y, int64 [B].
            items: item_indices whose text is replaced, int64 [B, H]; different ones in a row, 0
                where there are fewer.
            vectors: of their texts, float32 [B, H, K].
        """
        network = self.network
        table: Tensor = network.items()
        device = table.device
        replaced = torch.from_numpy(items).to(device)
        rows = self._rows(replaced, self.whitening(vectors))
        history = torch.from_numpy(pad_right(histories)).to(device)
        is_replaced = (history.unsqueeze(2) == replaced.unsqueeze(1)) & (replaced > 0).unsqueeze(1)
        read = F.embedding(history, table)
        read = read * ~is_replaced.any(2, keepdim=True) + is_replaced.to(rows.dtype) @ rows
        users = network.after_last(read, history != 0)
        # Column 0 is padding, and so is replaced item 0: what is written there is left out.
        scores = (rows @ users.unsqueeze(2)).squeeze(2)
        logits = (users @ table.T).scatter(1, replaced, scores)
        return _log_p(logits, self._out, targets)

    def _rows(self, items: Tensor, features: Tensor) -> Tensor:
        """Rows of the item table [B, H, D] with features [B, H, F] in place of the items' own."""
        parts = []
        for encoder in _encoders(self.network.items):
            ids = encoder.ids if encoder.anchor is None else encoder.ids + encoder.anchor
            parts.append(encoder.from_ids(ids[items]) + encoder.from_knowledge(features))
        return torch.cat(parts, dim=-1)


def set_features(network: SequenceNetwork, items: Tensor, features: Tensor) -> None:
    """Know items (int64 [n]) by other features float32 [n, F], in place."""
    for encoder in _encoders(network.items):
        if encoder.knowledge is None:
            raise TypeError("the network reads no knowledge")
        encoder.knowledge[items.to(features.device)] = features


def _encoders(items: nn.Module) -> list[ItemEncoder]:
    """The item encoders of a network: one, or one of each member of an ensemble."""
    if isinstance(items, EnsembleItems):
        return items.members
    if not isinstance(items, ItemEncoder):
        raise TypeError(f"{type(items).__name__} is no item encoder")
    return [items]


def _log_p(logits: Tensor, out: Tensor, targets: Int64) -> Tensor:
    """log p of the targets, float32 [B], among the items that are not left out (bool [N+1])."""
    log_p = logits.masked_fill(out, -torch.inf).log_softmax(dim=1)
    rows = torch.arange(len(targets), device=logits.device)
    return log_p[rows, torch.from_numpy(targets).to(logits.device)]
