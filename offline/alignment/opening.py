"""Opens the LLM that writes about items by its name, an aligned one too; loads no torch itself."""

from __future__ import annotations

import re
from pathlib import Path

from model_store.errors import ConfigError
from offline.knowledge.config import KnowledgeConfig
from offline.knowledge.language_model import LanguageModel
from offline.knowledge.opening import open_language_model

_DIGITS = 12
_NAME = re.compile(rf", aligned ([0-9a-f]{{{_DIGITS}}})$")


def aligned_name(model: str, fingerprint: str) -> str:
    """A name for an aligned LLM: that of the original, and which alignment it went through."""
    return f"{Path(model).name}, aligned {fingerprint[:_DIGITS]}"


def is_aligned(name: str) -> bool:
    """Whether this is the name of an aligned LLM."""
    return _NAME.search(name) is not None


def aligned_folder(name: str, cache: Path) -> Path:
    """Where the weights of an aligned LLM are kept in the cache, by its name.

    Raises:
        ValueError: it is no name of an aligned LLM.
    """
    found = _NAME.search(name)
    if found is None:
        raise ValueError(f"{name!r} is no name of an aligned language model")
    return cache / "aligned" / found[1]


def open_writer(config: KnowledgeConfig, cache: Path) -> LanguageModel:
    """As `open_language_model`; an aligned LLM is opened with the weights that are in the cache.

    Raises:
        ConfigError: the LLM can't be read, or its weights are not there.
    """
    if not is_aligned(config.model):
        return open_language_model(config, cache)
    folder = aligned_folder(config.model, cache)
    if not folder.is_dir():
        raise ConfigError(
            f"language model {config.model!r}: its weights are not in {folder}, where the build "
            "that aligned it leaves them; run that build here, or copy the folder"
        )
    from offline.alignment.aligned_model import open_aligned

    return open_aligned(config, folder, cache)
