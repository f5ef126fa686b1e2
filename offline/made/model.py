"""What a made bundle holds of a model: backbone, item table, popularity."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from offline.made.vectors import clustered_vectors, expected_popularity
from offline.made.world import World
from offline.recommender.backbone import Backbone, Sasrec
from offline.recommender.config import SasrecConfig
from offline.recommender.training import seeded

Vectors = npt.NDArray[np.float32]

CONFIG = SasrecConfig(embedding_size=64, layers=2, heads=2, max_length=200, dropout=0.0)


@dataclass(frozen=True)
class MadeModel:
    """A backbone with a table that fits it.

    Attributes:
        name: how the vectors came about.
        backbone: in evaluation mode.
        item_table: float32 [N+1, D].
        popularity: float32 [N+1].
        max_length: history items that are looked at.
        metrics: measured on held-out steps, where the model was trained.
    """

    name: str
    backbone: Backbone
    item_table: Vectors
    popularity: Vectors
    max_length: int = CONFIG.max_length
    metrics: dict[str, float] = field(default_factory=dict)


def untrained_model(world: World) -> MadeModel:
    """A random network over clustered vectors: quick, and good for timing exact scoring only."""
    with seeded(world.seed):
        backbone = Sasrec(CONFIG).eval()
    table = clustered_vectors(world, CONFIG.embedding_size)
    return MadeModel("clustered", backbone, table, expected_popularity(world))
