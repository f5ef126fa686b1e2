"""The aligned LLM as a writer of knowledge; its weights are kept in the cache for new items."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from model_store.errors import ConfigError
from model_store.files import write_atomically
from model_store.knowledge_texts import KnowledgeSource
from offline.alignment.opening import aligned_folder, aligned_name, open_writer
from offline.alignment.settings import Settings
from offline.engine.work import Workplace
from offline.instruction.adapters import merge_adapter
from offline.knowledge.causal_model import load_causal_model
from offline.knowledge.config import KnowledgeConfig
from offline.knowledge.generation import ItemKnowledge, generate_knowledge
from offline.knowledge.local_model import LocalModel
from offline.knowledge.provenance import source_of
from offline.knowledge.report import KnowledgeReport

_WEIGHTS, _ORIGIN = "weights", "origin.json"


@dataclass(frozen=True)
class Described:
    """Texts of an aligned LLM, with their origin and counts."""

    knowledge: ItemKnowledge
    source: KnowledgeSource
    report: KnowledgeReport


def describe_items(
    item_texts: Sequence[str],
    settings: Settings,
    weights: Path,
    fingerprint: str,
    cache: Path,
    workplace: Workplace | None = None,
) -> Described:
    """Have the aligned LLM write about each item, as the LLM did before.

    Args:
        item_texts: own texts of the items.
        settings: that it was aligned with.
        weights: folder of the adapter, or of the whole LLM.
        fingerprint: of the alignment; answers of another are not taken from the cache.
        cache: folder of downloads and answers, and of the weights from then on.
        workplace: where it writes; None: in this process.

    Raises:
        ConfigError: the LLM can't be read.
        EngineError: a process was lost.
        InputError: the folder holds no adapter of it.
    """
    name = aligned_name(settings.knowledge.model, fingerprint)
    keep_weights(weights, name, settings, cache)
    config = settings.knowledge.model_copy(update={"model": name, "generate": True})
    knowledge, report = generate_knowledge(
        item_texts, config, cache, open_model=open_writer, workplace=workplace
    )
    source = source_of(config).model_copy(update={"aligned": True})
    return Described(knowledge, source, report)


def keep_weights(weights: Path, name: str, settings: Settings, cache: Path) -> None:
    """Copy an aligned LLM's weights into the cache, where `open_writer` finds them by name."""
    place = aligned_folder(name, cache)
    if place.is_dir():
        return
    partial = place.with_name(f".{place.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(weights, partial / _WEIGHTS)
    origin = {"model": settings.knowledge.model, "method": settings.alignment.method}
    write_atomically(partial / _ORIGIN, json.dumps(origin).encode())
    partial.rename(place)


def open_aligned(config: KnowledgeConfig, folder: Path, cache: Path) -> LocalModel:
    """The LLM whose weights `keep_weights` put into a folder.

    Raises:
        ConfigError: the original LLM, or what was kept, can't be read.
        InputError: the folder holds no adapter of it.
    """
    try:
        origin = json.loads((folder / _ORIGIN).read_bytes())
        is_whole, name = origin["method"] == "full", str(origin["model"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"language model {config.model!r}: {folder / _ORIGIN}: {error}") from None
    weights = folder / _WEIGHTS
    model, tokenizer = load_causal_model(str(weights) if is_whole else name, cache, config.device)
    if not is_whole:
        model = merge_adapter(model, weights)
    return LocalModel(config.model, model, tokenizer, config.batch_size)
