"""The aligned LLM as a writer of knowledge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from model_store.knowledge_texts import KnowledgeSource
from offline.alignment.settings import Settings
from offline.instruction.adapters import merge_adapter
from offline.knowledge.causal_model import load_causal_model
from offline.knowledge.config import KnowledgeConfig
from offline.knowledge.generation import ItemKnowledge, generate_knowledge
from offline.knowledge.local_model import LocalModel
from offline.knowledge.provenance import source_of
from offline.knowledge.report import KnowledgeReport

_DIGITS = 12


@dataclass(frozen=True)
class Described:
    """Texts of an aligned LLM, with their origin and counts."""

    knowledge: ItemKnowledge
    source: KnowledgeSource
    report: KnowledgeReport


def describe_items(
    item_texts: Sequence[str], settings: Settings, weights: Path, fingerprint: str, cache: Path
) -> Described:
    """Have the aligned LLM write about each item, as the LLM did before.

    Args:
        item_texts: own texts of the items.
        settings: that it was aligned with.
        weights: folder of the adapter, or of the whole LLM.
        fingerprint: of the alignment; answers of another are not taken from the cache.
        cache: folder of downloads and answers.

    Raises:
        ConfigError: the LLM can't be read.
        InputError: the folder holds no adapter of it.
    """
    original = settings.knowledge
    config = original.model_copy(
        update={"model": aligned_name(original.model, fingerprint), "generate": True}
    )

    def open_model(config: KnowledgeConfig, cache: Path) -> LocalModel:
        whole = settings.alignment.method == "full"
        name = str(weights) if whole else original.model
        model, tokenizer = load_causal_model(name, cache, config.device)
        if not whole:
            model = merge_adapter(model, weights)
        return LocalModel(config.model, model, tokenizer, config.batch_size)

    knowledge, report = generate_knowledge(item_texts, config, cache, open_model=open_model)
    source = source_of(config).model_copy(update={"aligned": True})
    return Described(knowledge, source, report)


def aligned_name(model: str, fingerprint: str) -> str:
    """A name for the aligned LLM: that of the original, and which alignment it went through."""
    return f"{Path(model).name}, aligned {fingerprint[:_DIGITS]}"
