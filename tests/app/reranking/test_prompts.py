"""Prompts that the reranker's process makes of item_indices."""

from __future__ import annotations

import numpy as np
import pytest

from app.reranking.job import Job, RerankError
from app.reranking.prompts import Prompt, PromptMaker
from model_store.bundle import Bundle
from model_store.forgotten import digest_of_user
from model_store.rerank_prompt import PromptLayout, presentation_order
from tests.synthetic_bundle import Catalogue, user_vector

LAYOUT = PromptLayout(n_candidates=6, n_history=4, n_similar=2)


@pytest.fixture(scope="module")
def maker(rerank_bundle: Bundle) -> PromptMaker:
    return PromptMaker(rerank_bundle, LAYOUT)


def titles_of(bundle: Bundle, items: object) -> tuple[str, ...]:
    titles = bundle.attributes.get("title")
    assert titles is not None
    return tuple(str(titles.value_of(int(item))) for item in items)  # type: ignore[attr-defined]


def most_similar(made: Catalogue, history: list[int], but: str | None = None) -> str:
    """The user whose vector has the largest cosine with the history's, in numpy."""
    vector = user_vector(made.table, np.array(history, np.int32))
    cosines = {
        user_id: float(other @ vector / np.linalg.norm(other) / np.linalg.norm(vector))
        for user_id, of_user in made.histories.items()
        if user_id != but
        for other in [user_vector(made.table, of_user)]
    }
    return max(cosines, key=cosines.__getitem__)


def test_titles_are_those_of_the_items(
    maker: PromptMaker, rerank_bundle: Bundle, catalogue: Catalogue
) -> None:
    job = Job("v", None, (9, 8, 7, 6, 5, 4), (10, 11, 12))
    prompt = maker.make(job)
    similar = most_similar(catalogue, [9, 8, 7, 6, 5, 4])
    assert prompt == Prompt(
        history=titles_of(rerank_bundle, job.history[-4:]),
        candidates=titles_of(rerank_bundle, job.candidates),
        shown=tuple(presentation_order((7, 6, 5, 4), job.candidates)),
        similar=titles_of(rerank_bundle, catalogue.histories[similar][-2:]),
        similar_user=similar,
    )


def test_the_similar_user_is_never_the_user(maker: PromptMaker, catalogue: Catalogue) -> None:
    for user_id, items in catalogue.histories.items():
        history = tuple(int(item) for item in items)
        assert maker.make(Job("v", None, history, (1, 2))).similar_user == user_id
        found = maker.make(Job("v", user_id, history, (1, 2))).similar_user
        assert found == most_similar(catalogue, list(history), but=user_id)
        assert found != user_id


def test_a_forgotten_user_is_never_the_similar_one(
    rerank_bundle: Bundle, catalogue: Catalogue
) -> None:
    forgotten: set[bytes] = set()
    maker = PromptMaker(rerank_bundle, LAYOUT, forgotten)
    job = Job("v", None, (9, 8, 7, 6, 5, 4), (1, 2))
    found = []
    while (similar := maker.make(job).similar_user) is not None:
        found.append(similar)
        forgotten.add(digest_of_user(similar))
    assert found[0] == most_similar(catalogue, [9, 8, 7, 6, 5, 4])
    assert len(set(found)) == len(found) > 3
    assert maker.make(job).similar == ()


def test_fresh_items_and_padding_in_the_history_are_left_out(
    maker: PromptMaker, rerank_bundle: Bundle
) -> None:
    prompt = maker.make(Job("v", None, (3, 61, 0, 4, 999_999), (1, 2)))
    assert prompt.history == titles_of(rerank_bundle, (3, 4))


@pytest.mark.parametrize("history", [(), (61,)])
def test_an_empty_history_has_no_similar_user(maker: PromptMaker, history: tuple[int, ...]) -> None:
    prompt = maker.make(Job("v", None, history, (1, 2)))
    assert (prompt.history, prompt.similar, prompt.similar_user) == ((), (), None)


def test_a_layout_without_similar_users_has_none(rerank_bundle: Bundle) -> None:
    maker = PromptMaker(rerank_bundle, LAYOUT.model_copy(update={"n_similar": 0}))
    assert maker.make(Job("v", None, (1, 2), (3, 4))).similar_user is None


@pytest.mark.parametrize("candidates", [(), (1, 2, 3, 4, 5, 6, 7), (1, 61), (0, 1)])
def test_candidates_that_have_no_prompt_are_an_error(
    maker: PromptMaker, candidates: tuple[int, ...]
) -> None:
    with pytest.raises(RerankError):
        maker.make(Job("v", None, (1,), candidates))


def test_scores_of_labels_go_back_to_the_recommenders_order() -> None:
    prompt = Prompt((), ("a", "b", "c"), shown=(2, 0, 1))
    assert prompt.in_recommenders_order(np.array([3, 1, 2], np.float32)).tolist() == [1, 2, 3]
    assert prompt.listwise(LAYOUT).splitlines()[3:6] == ["A. c", "B. a", "C. b"]
