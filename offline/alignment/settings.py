"""The tables of a recipe that alignment reads; loads no torch."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from model_store.errors import ConfigError
from model_store.redaction import redacted
from offline.alignment.config import AlignmentConfig
from offline.encoding.config import EncodingConfig
from offline.knowledge.config import NO_MODEL, KnowledgeConfig
from offline.recommender.config import RecommenderConfig, TrainingConfig


class Settings(BaseModel):
    """The tables of a recipe that alignment reads.

    Attributes:
        encoder: of the texts: short name, Hugging Face id or folder.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    alignment: AlignmentConfig
    knowledge: KnowledgeConfig
    encoding: EncodingConfig
    encoder: str
    recommender: RecommenderConfig
    training: TrainingConfig

    def check(self) -> None:
        """Find what can't be aligned before anything takes long.

        Raises:
            ConfigError: names the setting.
        """
        if self.knowledge.model == NO_MODEL:
            raise ConfigError(f'knowledge.model = "{NO_MODEL}": alignment needs an LLM to align')
        if self.knowledge.base_url is not None:
            url = redacted(self.knowledge.base_url)
            raise ConfigError(
                f'knowledge.base_url = "{url}": an LLM behind an endpoint '
                "can't be aligned; name its files as knowledge.model"
            )
        if self.encoding.text == "item":
            raise ConfigError(
                'encoding.text = "item": the recommender would not read what the LLM writes'
            )
        if not self.recommender.knowledge_beside_ids:
            raise ConfigError(
                "recommender.knowledge_beside_ids = false: alignment rewards texts by what the "
                "recommender makes of them, and this one would not read them"
            )
        if self.encoding.shuffled:
            raise ConfigError("encoding.shuffled = true: texts of other items teach an LLM nothing")
