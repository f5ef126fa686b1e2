"""Reward the texts of a pool with a recommender that was trained before alignment."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from offline.alignment.config import AlignmentConfig
from offline.artifact import Artifact, Facts, write_json
from offline.cache import cache_folder
from offline.encoding.config import EncodingConfig
from offline.fingerprint import hash_inputs
from offline.knowledge.config import KnowledgeConfig
from offline.recommender.config import RecommenderConfig, TrainingConfig
from offline.stages.data import DataArtifact
from offline.stages.encoder_choice import EncoderChoice
from offline.stages.encoding import EncodingArtifact
from offline.stages.knowledge import KnowledgeArtifact
from offline.stages.stage import Stage

_BEST, _RANDOM = "best.json", "random.json"
_CHECKPOINT = "checkpoint"


class TextRewardsArtifact(Artifact):
    """The best text of each item of the pool, and a random one."""

    def best(self) -> dict[int, str]:
        """Knowledge by item_index."""
        return self._read(_BEST)

    def random(self) -> dict[int, str]:
        """Knowledge by item_index, drawn from the K texts of the item."""
        return self._read(_RANDOM)

    def _read(self, name: str) -> dict[int, str]:
        return {int(item): text for item, text in self.read_json(name).items()}


@dataclass(frozen=True)
class TextRewardsStage(Stage[TextRewardsArtifact]):
    """From an LLM to several texts of each item, and their rewards.

    Attributes:
        data: its training part rewards.
        knowledge: before alignment.
        encoding: the vectors of it.
        encodes, encoder: how they were made.
        asked: model and prompt.
        recommender, training: of the recommender that rewards.
        alignment: the pool's settings.
    """

    data: DataArtifact
    knowledge: KnowledgeArtifact
    encoding: EncodingArtifact
    encodes: EncodingConfig
    encoder: EncoderChoice
    asked: KnowledgeConfig
    recommender: RecommenderConfig
    training: TrainingConfig
    alignment: AlignmentConfig

    name = "text_rewards"

    @property
    def artifact(self) -> type[TextRewardsArtifact]:
        """See `TextRewardsArtifact`."""
        return TextRewardsArtifact

    @property
    def config(self) -> Facts:
        """All of the choices."""
        return {
            "encodes": self.encodes.model_dump(),
            "asked": self.asked.model_dump(),
            "recommender": self.recommender.model_dump(),
            "training": self.training.model_dump(),
            "alignment": self.alignment.model_dump(),
        }

    @property
    def inputs(self) -> Mapping[str, str]:
        """What is read, and a prompt file by its content."""
        prompt = Path(self.asked.prompt)
        is_own = prompt.suffix == ".txt" and prompt.is_file()
        return {**super().inputs, **({"prompt": hash_inputs([prompt])} if is_own else {})}

    def run(self, folder: Path) -> Facts:
        """Sample the texts that are missing, train the recommender, and write what it prefers.

        Raises:
            LongtailError: the LLM, the encoder or the data can't be used, in one line.
        """
        from offline.alignment.pool import open_pool, open_pool_writer
        from offline.alignment.pool_rewards import reward_pool
        from offline.encoding.sentence_encoder import SentenceEncoder
        from offline.recommender.recommender import TrainingData

        cache, own = cache_folder(), self.knowledge.item_texts()
        data = TrainingData.of_split(self.data.split(), self.data.n_items, self.encoding.vectors())
        described = own, self.encodes.text, self.asked, self.alignment, cache
        pool = open_pool(own, data.counts(), *described[1:], lambda: open_pool_writer(*described))
        chosen = reward_pool(
            pool,
            data,
            self.recommender,
            self.training,
            SentenceEncoder(self.encoder.name, cache),
            self.alignment,
            folder / _CHECKPOINT,
        )
        shutil.rmtree(folder / _CHECKPOINT)
        for name, texts in ((_BEST, chosen.best), (_RANDOM, chosen.random)):
            write_json(folder / name, {item: pool.knowledge(text) for item, text in texts.items()})
        return {name: round(value, 6) for name, value in chosen.figures.items()}
