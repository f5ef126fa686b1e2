"""The reranker's prompt (Llama4Rec figure 2), equal where a language model is tuned and asked.

Candidates are shown with one-letter labels, so that one forward pass ranks them all: by the
probabilities of the labels at the answer's place. Titles of a catalogue are data. They are cut to
a length and freed of control characters, so that none can imitate another part of the prompt.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from model_store.attributes import ItemAttributes

LABELS = "ABCDEFGHIJKLMNOPQRST"
RATINGS = "12345"
LABEL_ANSWERS = tuple(f" {label}" for label in LABELS)
"""The text that follows a list-wise prompt."""
RATING_ANSWERS = tuple(RATINGS)
"""The text that follows a point-wise prompt; without a blank, which many tokenizers split off."""
# Separate titles in a row.
_SEPARATOR = "; "
Text = Annotated[str, StringConstraints(max_length=500)]


class PromptLayout(BaseModel):
    """Wording and limits of a prompt. A tuned model understands the layout it was tuned with."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    instruction: Text = Field(
        "Rank the candidates by what the user likes next.", description="first line of a ranking"
    )
    rating_instruction: Text = Field(
        "Predict the user's rating of the candidate.", description="first line of a rating"
    )
    n_candidates: int = Field(10, ge=2, le=len(LABELS), description="k', candidates of a prompt")
    n_history: int = Field(10, ge=1, le=100, description="newest items of the user's history")
    n_similar: int = Field(
        5, ge=0, le=100, description="newest items of the similar user; 0 leaves that user out"
    )
    shows_prediction: bool = Field(
        True, description="whether the recommender's order of the candidates is shown"
    )
    max_title_characters: int = Field(48, ge=4, le=500, description="a title is cut there")

    def listwise(
        self,
        history: Sequence[str],
        candidates: Sequence[str],
        shown: Sequence[int],
        similar: Sequence[str] = (),
    ) -> str:
        """The prompt that is answered by a label, one of LABEL_ANSWERS.

        Args:
            history: titles, oldest → newest.
            candidates: titles in the recommender's order, at most `n_candidates`.
            shown: a permutation; position in `candidates` of the one with each label.
            similar: titles of the similar user's history, oldest → newest.
        """
        label_of = {position: LABELS[number] for number, position in enumerate(shown)}
        lines = [
            self.instruction,
            *self._rows(history, similar),
            "Candidates:",
            *(f"{LABELS[n]}. {self.clean(candidates[place])}" for n, place in enumerate(shown)),
        ]
        if self.shows_prediction:
            order = " ".join(label_of[position] for position in range(len(candidates)))
            lines.append(f"Prediction: {order}")
        return "\n".join([*lines, "Answer:"])

    def pointwise(
        self,
        history: Sequence[str],
        candidates: Sequence[str],
        similar: Sequence[str] = (),
        ratings: Sequence[int] = (),
    ) -> tuple[str, list[str]]:
        """The common beginning of the prompts and the end of each candidate's.

        A prompt is answered by a rating, one of RATING_ANSWERS. Arguments as of `listwise`, and:

        Args:
            history: titles, oldest → newest.
            candidates: titles.
            similar: titles of the similar user's history.
            ratings: of the history's items, 1 to 5, shown behind their titles; empty: none are.
        """
        rows = self._rows(history, similar, ratings)
        beginning = "\n".join([self.rating_instruction, *rows, ""])
        return beginning, [f"Candidate: {self.clean(title)}\nRating:" for title in candidates]

    def clean(self, title: str) -> str:
        """A title as it stands in a prompt: one line, without control characters, cut."""
        printable = "".join(
            " " if unicodedata.category(character)[0] in "CZ" else character for character in title
        )
        words = " ".join(printable.split())
        if len(words) <= self.max_title_characters:
            return words
        return words[: self.max_title_characters - 1].rstrip() + "…"

    def _rows(
        self, history: Sequence[str], similar: Sequence[str], ratings: Sequence[int] = ()
    ) -> list[str]:
        shown = [self.clean(title) for title in history[-self.n_history :]]
        if ratings:
            newest = ratings[-self.n_history :]
            shown = [f"{title}: {rating}" for title, rating in zip(shown, newest, strict=True)]
        rows = [f"History: {_SEPARATOR.join(shown)}"]
        if self.n_similar and similar:
            rows.append(f"Similar user: {self._join(similar[-self.n_similar :])}")
        return rows

    def _join(self, titles: Sequence[str]) -> str:
        return _SEPARATOR.join(self.clean(title) for title in titles)


def item_titles(attributes: ItemAttributes, item_ids: Sequence[str]) -> list[str]:
    """Title of each item, row i that of item_index i + 1; its id where it has none."""
    titles = attributes.get("title")
    if titles is None:
        return list(item_ids)
    return [
        title if isinstance(title, str) and title.strip() else item_id
        for title, item_id in zip(titles.values, item_ids, strict=True)
    ]


def presentation_order(history: Sequence[int], candidates: Sequence[int]) -> list[int]:
    """The order in which candidates are shown: a permutation that has nothing to do with ranks.

    It depends on the item_indices alone, so that a repeated request has the same prompt.
    """
    seed = [*(int(item) for item in history), 0, *(int(item) for item in candidates)]
    return [int(place) for place in np.random.default_rng(seed).permutation(len(candidates))]
