"""The model of a synthetic bundle: backbone, item table, popularity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import torch

from offline.recommender.backbone import Backbone
from offline.recommender.backbones.sasrec import Sasrec
from offline.recommender.config import SasrecConfig
from offline.synthetic.vectors import clustered_vectors, expected_popularity, repeat_rows
from offline.synthetic.world import MAX_DISTINCT, Items, World
from offline.training.seeds import seeded

Vectors = npt.NDArray[np.float32]

CONFIG = SasrecConfig(embedding_size=64, layers=2, heads=2, max_length=200, dropout=0.0)


@dataclass(frozen=True)
class MadeModel:
    """A backbone with a table that fits it.

    Attributes:
        name: origin of the vectors.
        backbone: in evaluation mode.
        item_table: float32 [N+1, D].
        popularity: float32 [N+1].
        max_length: last history items that are read.
        metrics: measured on held-out steps, where the model was trained.
    """

    name: str
    backbone: Backbone
    item_table: Vectors
    popularity: Vectors
    max_length: int = CONFIG.max_length
    metrics: dict[str, float] = field(default_factory=dict)

    def user_vectors(self, histories: Sequence[Items]) -> Vectors:
        """The user vector of each history, float32 [B, D]."""
        vectors = []
        with torch.inference_mode():
            for history in histories:
                last = history[None, -self.max_length :].astype(np.int64)
                rows = torch.from_numpy(self.item_table[last])
                vectors.append(self.backbone.last(rows, torch.from_numpy(last) > 0))
        found: Vectors = torch.cat(vectors).numpy()
        return found

    def repeated(self, world: World) -> MadeModel:
        """This model over a larger world, whose further items are similar to the known ones."""
        within = World.of_size(MAX_DISTINCT, world.seed).clusters()
        return replace(
            self,
            name=f"{self.name}-repeated",
            item_table=repeat_rows(self.item_table, within, world),
            popularity=np.concatenate(([0], np.resize(self.popularity[1:], world.n_items))),
        )


def untrained_model(world: World) -> MadeModel:
    """A random network over clustered vectors: quick, and good for timing exact scoring only."""
    with seeded(world.seed):
        backbone = Sasrec(CONFIG).eval()
    table = clustered_vectors(world, CONFIG.embedding_size)
    return MadeModel("clustered", backbone, table, expected_popularity(world))
