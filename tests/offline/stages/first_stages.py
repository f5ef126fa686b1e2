"""The first stages of a build in small: data of random walks, vectors, a fitted recommender."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from offline.inputs import Source
from offline.recommender.config import SasrecConfig, TrainingConfig
from offline.stages.data import DataArtifact, DataStage
from offline.stages.encoding import EncodingArtifact
from offline.stages.recommender import RecommenderArtifact, RecommenderStage
from offline.stages.stage import run_stage
from tests.offline.instruction.walks import N_ITEMS, make_interactions

RECOMMENDER = SasrecConfig(embedding_size=16, layers=1, knowledge_beside_ids=False)
TRAINING = TrainingConfig(epochs=3, warm_up_steps=1, device="cpu")


def make_first_stages(root: Path) -> tuple[DataArtifact, EncodingArtifact, RecommenderArtifact]:
    interactions = make_interactions(n_users=40)
    users = np.repeat(np.arange(interactions.n_users), np.diff(interactions.offsets))
    rows = [
        f"u{user},i{item},{time},{rating}"
        for user, item, time, rating in zip(
            users,
            interactions.items,
            interactions.timestamps,
            interactions.ratings,
            strict=True,
        )
    ]
    table = root / "interactions.csv"
    table.write_text("\n".join(["user_id,item_id,timestamp,rating", *rows]))
    data = run_stage(DataStage(Source(table, None, "film"), "leave_one_out", print), root)
    folder = root / "encoding"
    folder.mkdir()
    vectors = np.random.default_rng(0).normal(size=(N_ITEMS + 1, 8)).astype(np.float32)
    np.save(folder / EncodingArtifact.VECTORS, vectors)
    encoding = EncodingArtifact(folder, "vectors", {})
    return data, encoding, run_stage(RecommenderStage(data, encoding, RECOMMENDER, TRAINING), root)
