"""A language model's scores of what a stage asks, kept until the stage has used them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from offline.cache import cache_folder
from offline.instruction.label_scorer import Float32
from offline.instruction.prompt_scores import score_prompts
from offline.instruction.scorer_choice import ScorerChoice, open_scorer

_SCORES = "scores.f32"


class Asked(Protocol):
    """What a language model is asked.

    Attributes:
        prompts: of `PromptLayout.listwise`.
        n_labels: of each prompt.
    """

    @property
    def prompts(self) -> Sequence[str]:
        """The prompts."""

    @property
    def n_labels(self) -> Sequence[int]:
        """How many labels each has."""


@contextmanager
def kept_scores(asked: Asked, choice: ScorerChoice, folder: Path) -> Iterator[list[Float32]]:
    """The scores of each prompt's labels, in a file of the folder until the block has ended.

    A run that was killed goes on where it stopped.

    Args:
        asked: the prompts; without any, no model is opened.
        choice: the language model.
        folder: of the stage.

    Raises:
        ConfigError: the language model can't be used.
        InputError: a score is no number.
    """
    path = folder / _SCORES
    scores: list[Float32] = []
    if asked.prompts:
        scorer = open_scorer(choice, cache_folder(), asked.prompts, asked.n_labels)
        scores = score_prompts(scorer, asked.prompts, asked.n_labels, path)
    yield scores
    path.unlink(missing_ok=True)
