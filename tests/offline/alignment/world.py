"""A small catalogue with tiny models, to align in a second or two."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from offline.alignment.config import AlignmentConfig
from offline.alignment.inputs import AlignmentInputs
from offline.alignment.settings import Settings
from offline.data.split import Cases
from offline.encoding.config import EncodingConfig
from offline.knowledge.config import KnowledgeConfig
from offline.recommender.config import SasrecConfig, TrainingConfig
from tests.offline.encoding.tiny_encoder import make_tiny_bert
from tests.offline.knowledge.stand_ins import make_tiny_llama, texts_of

N_ITEMS, N_USERS, MAX_LENGTH = 12, 16, 6
TITLES = ("toy war", "quiet story", "comedy film", "drama people", "kind person", "romance")


def make_inputs(folder: Path, **alignment: object) -> AlignmentInputs:
    """Users walk the items in a circle, from places of their own."""
    choices: dict[str, object] = {
        "steps": 4,
        "mode": "synchronous",
        "examples_per_step": 3,
        "texts_per_example": 4,
        "max_new_tokens": 24,
        "rank": 2,
        "modules": ("q_proj", "v_proj"),
        "watch_every": 2,
        "save_every_s": 0.0,
    }
    settings = Settings(
        alignment=AlignmentConfig.model_validate(choices | alignment),
        knowledge=KnowledgeConfig(model=str(folder / "llm"), max_new_tokens=24),
        encoding=EncodingConfig(),
        encoder=str(folder / "encoder"),
        recommender=SasrecConfig(embedding_size=8, max_length=MAX_LENGTH, layers=1),
        training=TrainingConfig(epochs=2, batch_size=8, learning_rate=0.01),
    )
    walks = [np.arange(user, user + 9) % N_ITEMS + 1 for user in range(N_USERS)]
    histories = [walk[:8].astype(np.int32) for walk in walks]
    validation = Cases(
        np.arange(N_USERS, dtype=np.int32),
        np.arange(N_USERS + 1, dtype=np.int64) * 8,
        np.concatenate(histories),
        np.array([walk[8] for walk in walks], dtype=np.int32),
    )
    titles = [f"{TITLES[n % len(TITLES)]} {'good' * (n // len(TITLES))}" for n in range(N_ITEMS)]
    return AlignmentInputs(
        settings,
        [f"i{number}" for number in range(1, N_ITEMS + 1)],
        texts_of(*titles),
        [f"This item is a {title} for people who enjoy fun." for title in titles],
        [history[:7] for history in histories],
        validation,
    )


def make_models(folder: Path) -> Path:
    """The LLM and the encoder that `make_inputs` names."""
    make_tiny_llama(folder / "llm")
    make_tiny_bert(folder / "encoder")
    return folder
