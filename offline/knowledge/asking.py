"""Has batches of prompts answered: one after another in this process, or on an engine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias

from offline.knowledge.batches import Batch
from offline.knowledge.config import KnowledgeConfig
from offline.knowledge.language_model import Answer, LanguageModel

OpenModel: TypeAlias = Callable[[KnowledgeConfig, Path], LanguageModel]
Answers: TypeAlias = Iterable[tuple[int, Answer]]
"""Answers of a batch with the positions of their prompts, each as soon as it is there."""


class Asker(Protocol):
    """Has batches answered."""

    @property
    def name(self) -> str:
        """The model's name in reports and messages."""

    @property
    def prompts_at_a_time(self) -> int:
        """Prompts of a batch."""

    def ask(self, batches: Iterable[Batch]) -> Iterator[tuple[Batch, Answers]]:
        """Each batch with its answers, in any order of the batches.

        The answers of a batch are to be taken before the next batch is.

        Raises:
            LongtailError: the model can't answer any more.
        """


@dataclass(frozen=True)
class InTurn:
    """An `Asker` that asks a model of this process, or an endpoint, batch after batch."""

    model: LanguageModel

    @property
    def name(self) -> str:
        """See `Asker.name`."""
        return self.model.name

    @property
    def prompts_at_a_time(self) -> int:
        """See `Asker.prompts_at_a_time`."""
        return self.model.prompts_at_a_time

    def ask(self, batches: Iterable[Batch]) -> Iterator[tuple[Batch, Answers]]:
        """See `Asker.ask`."""
        for batch in batches:
            yield batch, self.model.as_they_come(batch.prompts, batch.sampling)
