"""Several texts of each item of a pool, of which a recommender's training reads one at a time.

In Algorithm 1 the recommender learns from sampled texts (lines 3 and 5). One that was trained with
a single text of an item likes that text best, and would reward others for their likeness to it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from offline.alignment.experience import TextPool
from offline.alignment.likelihood import Whitening, set_features
from offline.alignment.text_vectors import TextVectors
from offline.recommender.network import SequenceNetwork
from offline.recommender.recommender import Vectors


@dataclass(frozen=True, eq=False)
class DrawnTexts:
    """The texts of a pool as a recommender's features.

    Attributes:
        items: item_indices, int64 [P].
        before: features of their texts before alignment, float32 [P, F].
        features: of the pool's texts, float32 [P, T, F].
    """

    items: Tensor
    before: Tensor
    features: Tensor

    @classmethod
    @torch.no_grad()
    def of(
        cls, pool: TextPool, vectors: TextVectors, before: Vectors, whitening: Whitening
    ) -> DrawnTexts:
        """Encode all texts of a pool whose items have equally many.

        Args:
            pool: the texts.
            vectors: encodes them.
            before: of all items before alignment, float32 [N+1, K].
            whitening: from vectors to features.
        """
        items = torch.from_numpy(pool.items.astype(np.int64))
        texts = [text.text for item in items.tolist() for text in pool.texts(item)]
        encoded = vectors.of(texts)
        features = whitening(encoded).reshape(len(items), -1, whitening.axes.shape[1])
        known = torch.from_numpy(before[items.numpy()]).to(features.device)
        return cls(items, whitening(known), features)

    def exchange(self, network: SequenceNetwork, rng: np.random.Generator) -> None:
        """Know each item by one of its texts, drawn at random."""
        n_items, n_texts, _ = self.features.shape
        drawn = torch.from_numpy(rng.integers(n_texts, size=n_items))
        self._set(network, self.features[torch.arange(n_items), drawn])

    def restore(self, network: SequenceNetwork) -> None:
        """Know the items by their texts before alignment again."""
        self._set(network, self.before)

    def arrays(self) -> list[npt.NDArray[np.generic]]:
        """What decides a training's result, for its fingerprint."""
        return [self.items.numpy(), self.features.cpu().numpy()]

    def _set(self, network: SequenceNetwork, features: Tensor) -> None:
        device = next(network.parameters()).device
        set_features(network, self.items, features.to(device))
