"""From a job's item_indices to the titles of a prompt (Llama4Rec 4.3: prompt augmentation)."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass

import numpy as np

from app.model.arrays import FloatArray, IndexArray
from app.model.inference import SequenceModel, check_tensors, open_session
from app.reranking.job import Job, RerankError, Scores
from model_store import bundle as files
from model_store.bundle import Bundle
from model_store.forgotten import digest_of_user
from model_store.histories import Histories
from model_store.rerank_prompt import PromptLayout, item_titles, presentation_order


@dataclass(frozen=True)
class Prompt:
    """Titles that a language model is asked with.

    history, similar: oldest → newest. candidates: in the recommender's order. shown: a permutation;
    position in `candidates` of the one with each label. similar_user: whose history `similar` is.
    """

    history: tuple[str, ...]
    candidates: tuple[str, ...]
    shown: tuple[int, ...]
    similar: tuple[str, ...] = ()
    similar_user: str | None = None

    def listwise(self, layout: PromptLayout) -> str:
        """The text that is answered by a label."""
        return layout.listwise(self.history, self.candidates, self.shown, self.similar)

    def pointwise(self, layout: PromptLayout) -> tuple[str, list[str]]:
        """The beginning of the texts that are answered by a rating, and an end a candidate."""
        return layout.pointwise(self.history, self.candidates, self.similar)

    def in_recommenders_order(self, label_scores: Scores) -> Scores:
        """Scores [k'] of the candidates from those of the labels, in the labels' order."""
        scores = np.empty(len(self.candidates), dtype=np.float32)
        scores[list(self.shown)] = label_scores
        return scores


class PromptMaker:
    """Makes the prompts of one version's jobs.

    Args:
        bundle: with a reranker.
        layout: of the prompts.
        forgotten: digests (`forgotten.digest_of_user`) of users who may be nobody's similar user;
            may grow.
    """

    def __init__(
        self, bundle: Bundle, layout: PromptLayout, forgotten: Set[bytes] = frozenset()
    ) -> None:
        self._layout = layout
        self._titles = item_titles(bundle.attributes, bundle.item_ids.ids)
        self._similar = SimilarUsers.open(bundle, forgotten) if layout.n_similar else None

    def make(self, job: Job) -> Prompt:
        """The prompt of a job.

        Raises:
            RerankError: a candidate is not an item of the bundle, or there are too many of them.
        """
        n_items, limit = len(self._titles), self._layout.n_candidates
        if not 1 <= len(job.candidates) <= limit:
            raise RerankError(f"{len(job.candidates)} candidates, expected 1 to {limit}")
        for item_index in job.candidates:
            if not 1 <= item_index <= n_items:
                raise RerankError(
                    f"candidate {item_index} is not an item of {job.version}'s bundle"
                )
        # Fresh items, which were added since, have no title here.
        known = [item_index for item_index in job.history if 1 <= item_index <= n_items]
        history = np.array(known, dtype=np.int32)
        similar_user, similar = None, np.empty(0, dtype=np.int32)
        if self._similar is not None and len(history):
            similar_user, similar = self._similar.find(history, job.user_id)
        newest = history[-self._layout.n_history :].tolist()
        return Prompt(
            history=self._titles_of(newest),
            candidates=self._titles_of(job.candidates),
            # Of the items that are shown, as in tuning.
            shown=tuple(presentation_order(newest, job.candidates)),
            similar=self._titles_of(similar[-self._layout.n_similar :].tolist()),
            similar_user=similar_user,
        )

    def _titles_of(self, items: Sequence[int]) -> tuple[str, ...]:
        return tuple(self._titles[item_index - 1] for item_index in items)


class SimilarUsers:
    """Finds the stored user who is most like a history, by the cosine of user vectors.

    Args:
        sequence: makes the vector of a history.
        histories: of the stored users.
        vectors: float32 [U, D], of the stored users; unit rows, or zeros.
        forgotten: digests of users who are never found.
    """

    def __init__(
        self,
        sequence: SequenceModel,
        histories: Histories,
        vectors: FloatArray,
        forgotten: Set[bytes],
    ) -> None:
        self._sequence, self._histories, self._vectors = sequence, histories, vectors
        self._forgotten = forgotten

    @classmethod
    def open(cls, bundle: Bundle, forgotten: Set[bytes]) -> SimilarUsers | None:
        """Of a bundle; None where it holds no users."""
        vectors, histories = bundle.user_vectors, bundle.histories()
        if vectors is None or not len(vectors):
            return None
        graph, info = bundle.folder / files.MODEL, bundle.manifest.model
        session = open_session(graph)
        check_tensors(graph, session, info.inputs, info.outputs)
        sequence = SequenceModel(session, bundle.item_table, info.max_length)
        return cls(sequence, histories, vectors, forgotten)

    def find(self, history: IndexArray, user_id: str | None) -> tuple[str | None, IndexArray]:
        """External id and history of the most similar user but `user_id` and forgotten ones.

        Returns:
            None and no items where nobody's cosine is above zero.
        """
        [vector] = self._sequence.user_vectors([history])
        similarities = self._vectors @ vector
        while similarities[row := int(np.argmax(similarities))] > 0:
            found = self._histories.user_ids[row]
            if found != user_id and digest_of_user(found) not in self._forgotten:
                span = slice(*(int(end) for end in self._histories.offsets[row : row + 2]))
                return found, self._histories.items[span]
            similarities[row] = -np.inf
        return None, np.empty(0, dtype=np.int32)
