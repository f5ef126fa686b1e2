"""Estimates the time a language model takes to describe items, measured on some of them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from offline.knowledge.config import KnowledgeConfig
from offline.knowledge.language_model import LanguageModel, Sampling
from offline.knowledge.prompt import read_template

_SHORT, _LONG = 1, 9  # tokens of the two answers that are timed


@dataclass(frozen=True)
class GenerationPace:
    """A measured pace.

    Attributes:
        item_s: seconds an item, its prompt read and an answer of full length written.
        n_measured: items that this was measured on.
    """

    item_s: float
    n_measured: int


def measure_generation(
    texts: Sequence[str], config: KnowledgeConfig, model: LanguageModel
) -> GenerationPace:
    """Time one batch of items of medium length, twice, with short answers of two lengths.

    The difference between the two is the time of tokens, the rest that of prompts.

    Args:
        texts: the items to describe, one or more.
        config: prompt and generation.
        model: generates up to ten tokens an item; they are not kept.
    """
    ordered = sorted(texts, key=len)
    size = min(len(ordered), model.prompts_at_a_time)
    first = (len(ordered) - size) // 2
    template = read_template(config.prompt)
    prompts = [template.fill(text, config.item_kind) for text in ordered[first : first + size]]

    def seconds(tokens: int) -> float:
        sampling = Sampling(tokens, config.temperature, config.repetition_penalty, config.seed)
        started = time.perf_counter()
        model.generate(prompts, sampling)
        return time.perf_counter() - started

    seconds(_SHORT)  # the first call takes memory and opens connections
    short, long = seconds(_SHORT), seconds(_LONG)
    token_s = max(0.0, long - short) / (_LONG - _SHORT)
    return GenerationPace((short + token_s * (config.max_new_tokens - _SHORT)) / size, size)
