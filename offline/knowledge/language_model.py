"""The interface of a language model that writes item knowledge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from offline.knowledge.prompt import Prompt


@dataclass(frozen=True)
class Sampling:
    """How to pick tokens. `temperature` 0 is greedy; `seed` only matters above 0."""

    max_new_tokens: int
    temperature: float
    repetition_penalty: float
    seed: int


@dataclass(frozen=True)
class Answer:
    """A model's answer with its given beginning, and the number of generated tokens."""

    text: str
    n_tokens: int


class LanguageModel(Protocol):
    """Answers prompts."""

    @property
    def name(self) -> str:
        """The model's name in reports and messages."""

    @property
    def prompts_at_a_time(self) -> int:
        """Recommended number of prompts of one call of `generate`."""

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[Answer]:
        """Answer `prompts`, in their order. Raises LongtailError if the model can't."""
