"""Says where texts about items come from."""

from __future__ import annotations

from model_store.knowledge_texts import KnowledgeSource, KnowledgeText
from offline.knowledge.config import KnowledgeConfig
from offline.knowledge.generation import ItemKnowledge
from offline.knowledge.prompt import read_template


def source_of(config: KnowledgeConfig) -> KnowledgeSource:
    """The source of the texts that a configuration gives.

    Raises:
        ConfigError: the prompt can't be read.
    """
    return KnowledgeSource(
        model=config.model, prompt=read_template(config.prompt).version, aligned=False
    )


def texts_of(knowledge: ItemKnowledge, config: KnowledgeConfig) -> list[KnowledgeText | None]:
    """Each text with its provenance, None for an item without one."""
    source = source_of(config)
    return [
        KnowledgeText(text=text, source=source, made_on=made_on) if text else None
        for text, made_on in zip(knowledge.texts, knowledge.made_on, strict=True)
    ]
