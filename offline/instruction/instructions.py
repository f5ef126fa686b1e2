"""Examples as tokens with their answers: what one step of tuning reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from model_store.rerank_prompt import (
    LABEL_ANSWERS,
    LABELS,
    RATING_ANSWERS,
    RATINGS,
    PromptLayout,
    presentation_order,
)
from offline.instruction.examples import Ranking, Rating
from offline.instruction.prompt_encoder import PromptEncoder

Example = Ranking | Rating


@dataclass(frozen=True)
class Instruction:
    """One example.

    Attributes:
        prompt: its tokens.
        choices: rows of the label head that can answer it, from and up to.
        answer: the row that does.
        text: tokens of the whole answer, for the loss over the vocabulary.
    """

    prompt: list[int]
    choices: tuple[int, int]
    answer: int
    text: list[int]


class Instructor:
    """Makes instructions of examples.

    Args:
        encoder: prompts to tokens.
        layout: of the prompts.
        titles: of all items, row i that of item_index i + 1.
        part_dropout: share of the prompts with a drawn order that lack the similar user, and of
            those that lack the prediction.
    """

    def __init__(
        self,
        encoder: PromptEncoder,
        layout: PromptLayout,
        titles: Sequence[str],
        part_dropout: float = 0.0,
    ) -> None:
        self._encoder, self._layout, self._titles = encoder, layout, titles
        self._part_dropout = part_dropout

    def write(
        self, examples: Sequence[Example], rng: np.random.Generator | None
    ) -> list[Instruction]:
        """Instructions of examples.

        Args:
            examples: of both kinds.
            rng: draws the order in which candidates are shown, and the parts that are left out;
                None: the order of serving, and whole prompts.
        """
        prompts, answers, choices, rows = [], [], [], []
        for example in examples:
            layout = self._layout_with(rng)
            if isinstance(example, Ranking):
                shown = self._order(example, rng)
                prompts.append(example.question.listwise(layout, self._titles, shown))
                answers.append(_ranking_text(example, shown))
                choices.append((0, len(shown)))
                rows.append(shown.index(example.target))
            else:
                beginning, ends = example.question.pointwise(layout, self._titles)
                prompts.append(beginning + ends[0])
                answers.append(RATING_ANSWERS[example.rating - 1])
                choices.append((len(LABELS), len(LABELS) + len(RATINGS)))
                rows.append(len(LABELS) + example.rating - 1)
        encoded = self._encoder.encode(prompts)
        whole = self._encoder.encode([p + a for p, a in zip(prompts, answers, strict=True)])
        return [
            Instruction(prompt, choice, row, [*both[len(prompt) :], *self._end])
            for prompt, both, choice, row in zip(encoded, whole, choices, rows, strict=True)
        ]

    def _order(self, example: Ranking, rng: np.random.Generator | None) -> list[int]:
        candidates = example.question.candidates
        if rng is None:
            return presentation_order(example.question.history, candidates)
        return [int(place) for place in rng.permutation(len(candidates))]

    def _layout_with(self, rng: np.random.Generator | None) -> PromptLayout:
        """The layout, with the parts that a draw leaves in."""
        if rng is None or not self._part_dropout:
            return self._layout
        lacks_similar, lacks_prediction = rng.random(2) < self._part_dropout
        changes = {"n_similar": 0} if lacks_similar else {}
        changes |= {"shows_prediction": False} if lacks_prediction else {}
        return self._layout.model_copy(update=changes)

    @property
    def _end(self) -> list[int]:
        end = self._encoder.tokenizer.eos_token_id
        return [] if end is None else [end]


def _ranking_text(example: Ranking, shown: Sequence[int]) -> str:
    """The labels of all candidates: the target's, then the others in the recommender's order."""
    others = [place for place in range(len(shown)) if place != example.target]
    return "".join(LABEL_ANSWERS[shown.index(place)] for place in [example.target, *others])
