"""How long a language model will take to describe items, measured on some of them."""

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
    """What was measured.

    Attributes:
        item_s: seconds an item, its prompt read and an answer of full length written.
        n_measured: items that this was measured on.
    """

    item_s: float
    n_measured: int


def measure_generation(
    texts: Sequence[str], config: KnowledgeConfig, model: LanguageModel
) -> GenerationPace:
    """Ask about one batch of items of middling length, twice, for answers of few tokens.

    The difference of the two is what tokens take, the rest is what the prompts take.

    Args:
        texts: the items to describe, one or more.
        config: how the model is asked.
        model: is asked for up to ten tokens an item; nothing is kept of them.
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
