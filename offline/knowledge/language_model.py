"""The interface of a language model that writes item knowledge."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from offline.knowledge.flaws import Flaw
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
    """A model's answer.

    Attributes:
        text: with its given beginning.
        n_tokens: generated ones.
        flaw: why there is no text, where the model or its server says so.
        reason: what its server said, in one line; "" where there is nothing to say.
        was_cut: the item's text was cut, being too long for the model.
    """

    text: str
    n_tokens: int
    flaw: Flaw | None = None
    reason: str = ""
    was_cut: bool = False


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

    def as_they_come(
        self, prompts: Sequence[Prompt], sampling: Sampling
    ) -> Iterator[tuple[int, Answer]]:
        """Answers with the positions of their prompts, each as soon as it is there.

        Raises LongtailError if the model can't answer any more, after those that it could.
        """
