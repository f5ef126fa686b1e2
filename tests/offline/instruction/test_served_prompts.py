"""A language model is asked at request time with the texts that it was tuned and scored with."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np
import pytest

from app.reranking.job import Job
from app.reranking.prompts import PromptMaker
from model_store.rerank_prompt import PromptLayout, item_titles, presentation_order
from offline.data.histories import Histories
from offline.instruction.questions import Questioner
from offline.recommender.recommender import Recommender
from tests.synthetic_bundle import (
    Catalogue,
    Floats,
    expected_scores,
    make_bundle,
    make_catalogue,
    user_vector,
)


class BundledRecommender:
    """Computes what the synthetic bundle's graph computes."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._table = catalogue.table

    def score(self, histories: Histories) -> Floats:
        return np.stack([expected_scores(self._table, one) for one in histories])

    def user_vectors(self, histories: Histories) -> Floats:
        return np.stack([user_vector(self._table, one) for one in histories])


@pytest.mark.parametrize("n_history", [3, 100])
@pytest.mark.parametrize("n_similar", [0, 2])
def test_served_prompts_are_those_of_tuning(tmp_path: Path, n_history: int, n_similar: int) -> None:
    """Histories are longer and shorter than shown; users are asked about and are similar ones."""
    catalogue = make_catalogue()
    bundle = make_bundle(tmp_path / "bundle", catalogue=catalogue, with_reranker=True)
    layout = PromptLayout(n_candidates=6, n_history=n_history, n_similar=n_similar)
    titles = item_titles(bundle.attributes, bundle.item_ids.ids)
    histories = [*catalogue.histories.values()]
    recommender = cast(Recommender, BundledRecommender(catalogue))
    questions = Questioner(recommender, histories, layout).ask(range(len(histories)), histories)
    maker = PromptMaker(bundle, layout)
    similar = set()
    for user_id, history, question in zip(catalogue.histories, histories, questions, strict=True):
        job = Job("made-1", user_id, tuple(history.tolist()), question.candidates)
        prompt = maker.make(job)
        shown = presentation_order(question.history, question.candidates)
        assert prompt.shown == tuple(shown)
        assert prompt.listwise(layout) == question.listwise(layout, titles, shown)
        assert prompt.pointwise(layout) == question.pointwise(layout, titles)
        similar.add(prompt.similar_user)
    assert (similar == {None}) == (n_similar == 0)
    assert min(map(len, histories)) < 3 < max(map(len, histories))
