"""Questions to a reranker: a history, the recommender's candidates, a similar user's history."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from model_store.rerank_prompt import PromptLayout
from offline.data.histories import Histories
from offline.instruction.similar_users import NOBODY, SimilarUsers, Vectors
from offline.recommender.recommender import Recommender, rank_unseen

# Scores of one batch take [64, N+1] float32.
_BATCH = 64


@dataclass(frozen=True)
class Question:
    """Fields of a prompt, as item_indices.

    Attributes:
        user: whose history it is, a row of the interactions.
        history: oldest → newest, as many as the layout shows.
        candidates: in the recommender's order.
        similar: newest items of the similar user, oldest → newest; empty where nobody is similar.
        ratings: of the history's items, 1 to 5, which point-wise prompts show; empty: they show
            none.
    """

    user: int
    history: tuple[int, ...]
    candidates: tuple[int, ...]
    similar: tuple[int, ...] = ()
    ratings: tuple[int, ...] = ()

    def listwise(self, layout: PromptLayout, titles: Sequence[str], shown: Sequence[int]) -> str:
        """The prompt that is answered by a label; arguments as of `PromptLayout.listwise`.

        Args:
            layout: of the prompt.
            titles: of all items, row i that of item_index i + 1.
            shown: a permutation; position in `candidates` of the one with each label.
        """
        return layout.listwise(
            _pick(titles, self.history),
            _pick(titles, self.candidates),
            shown,
            _pick(titles, self.similar),
        )

    def pointwise(self, layout: PromptLayout, titles: Sequence[str]) -> tuple[str, list[str]]:
        """The beginning and the ends of prompts that are answered by a rating."""
        return layout.pointwise(
            _pick(titles, self.history),
            _pick(titles, self.candidates),
            _pick(titles, self.similar),
            self.ratings,
        )


class Questioner:
    """Asks about histories, with the candidates and the user vectors of one recommender.

    Args:
        model: the recommender.
        sequences: training items of all users, oldest → newest: similar users are among these.
        layout: numbers of items.
        vectors: of these users, float32 [U, D], rows of users without items zeros; None: they are
            computed, where the layout has similar users.
    """

    def __init__(
        self,
        model: Recommender,
        sequences: Histories,
        layout: PromptLayout,
        vectors: Vectors | None = None,
    ) -> None:
        self._model, self._sequences, self._layout = model, sequences, layout
        self._users = None
        if layout.n_similar:
            self._users = SimilarUsers(self._vectors_of_users() if vectors is None else vectors)

    def ask(
        self, users: Sequence[int] | npt.NDArray[np.integer], histories: Histories
    ) -> list[Question]:
        """A question for each history; none of them is empty.

        Args:
            users: whose history each is.
            histories: items before the one that is asked for.
        """
        questions: list[Question] = []
        for start in range(0, len(histories), _BATCH):
            rows = slice(start, start + _BATCH)
            questions += self._ask_batch(users[rows], histories[rows])
        return questions

    def _ask_batch(
        self, users: Sequence[int] | npt.NDArray[np.integer], histories: Histories
    ) -> list[Question]:
        layout, score = self._layout, self._model.score
        best, _ = rank_unseen(score, histories, layout.n_candidates)
        similar = self._similar_to(users, histories)
        return [
            Question(
                int(user),
                _items(history[-layout.n_history :]),
                _items(candidates[candidates > 0]),
                () if other == NOBODY else _items(self._sequences[other][-layout.n_similar :]),
            )
            for user, history, candidates, other in zip(
                users, histories, best, similar, strict=True
            )
        ]

    def _similar_to(
        self, users: Sequence[int] | npt.NDArray[np.integer], histories: Histories
    ) -> Sequence[int]:
        if self._users is None:
            return [NOBODY] * len(histories)
        vectors = self._model.user_vectors(histories)
        found: list[int] = self._users.nearest(vectors, np.asarray(users)).tolist()
        return found

    def _vectors_of_users(self) -> Vectors:
        known = [user for user, items in enumerate(self._sequences) if len(items)]
        of_known = self._model.user_vectors([self._sequences[user] for user in known])
        vectors = np.zeros((len(self._sequences), of_known.shape[1]), dtype=np.float32)
        vectors[known] = of_known
        return vectors


def _items(items: npt.NDArray[np.integer]) -> tuple[int, ...]:
    return tuple(items.tolist())


def _pick(titles: Sequence[str], items: Sequence[int]) -> list[str]:
    return [titles[item - 1] for item in items]
