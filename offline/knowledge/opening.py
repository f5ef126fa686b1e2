"""Opens the language model of a configuration."""

from __future__ import annotations

from pathlib import Path

from offline.knowledge.config import KnowledgeConfig
from offline.knowledge.language_model import LanguageModel


def open_language_model(config: KnowledgeConfig, cache: Path) -> LanguageModel:
    """The endpoint's model if the configuration has a `base_url`, else one in this process.

    Raises ConfigError if it can't be opened.
    """
    if config.base_url is not None:
        from offline.knowledge.endpoint.model import EndpointModel

        return EndpointModel(
            config.model,
            config.base_url,
            config.concurrency,
            config.timeout_s,
            config.patience_s,
        )
    # torch is loaded only where it is needed: an endpoint serves a machine without it.
    from offline.knowledge.local_model import open_local_model

    return open_local_model(config.model, cache, config.batch_size, config.device)
