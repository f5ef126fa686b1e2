"""Rankings that a language model writes, and reads of anything it may write instead."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_store.rerank_prompt import PromptLayout
from offline.instruction.generation import GenerativeRanker, read_ranking, written_ranking
from offline.instruction.label_model import LabelModel
from tests.offline.instruction.tiny_models import FAMILIES, LAYOUT

TITLES = ["Alien", "Aliens", "Heat", "2001: A Space Odyssey", "A Bug's Life"]
SHOWN = [3, 1, 4, 0, 2]


@pytest.mark.parametrize(
    ("answer", "best"),
    [
        ("1. Heat\n2. Aliens\n3. Alien", [2, 1, 0]),
        ("heat; ALIENS; I would say Alien.", [2, 1, 0]),
        (" A C B", [3, 4, 1]),
        (" A, C > B.", [3, 4, 1]),
        ("A. 2001: A Space Odyssey\nC. A Bug's Life", [3, 4]),
        ("C. some other film\nE) Heat\nC.", [4, 2]),
        ("1. B\n2. A", [1, 3]),
        ("2001: A Space Odyssey\nHeat", [3, 2]),
        ("Heat\nHeat\nHeat\nAlien", [2, 0]),
        ("T S R", []),
        ("A film that I like is Casablanca", []),
        ("", []),
    ],
)
def test_answers_are_read_as_far_as_they_name_candidates(answer: str, best: list[int]) -> None:
    rest = [position for position in range(len(TITLES)) if position not in best]
    assert read_ranking(answer, TITLES, SHOWN) == [*best, *rest]


@given(st.permutations(range(len(TITLES))))
def test_a_written_ranking_is_read_as_it_was_meant(order: list[int]) -> None:
    written = written_ranking([TITLES[position] for position in order])
    assert read_ranking(written, TITLES, SHOWN) == order


@given(st.text())
def test_any_answer_gives_a_permutation(answer: str) -> None:
    assert sorted(read_ranking(answer, TITLES, SHOWN)) == list(range(len(TITLES)))


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_a_model_decodes_greedily_up_to_a_whole_answer(family: str) -> None:
    make_model, make_tokenizer = FAMILIES[family]
    ranker = GenerativeRanker(LabelModel(family, make_model(), make_tokenizer()), LAYOUT)
    prompt = LAYOUT.listwise(["heat"], ["alien", "war"], [1, 0])
    long = ranker.write(prompt, max_new_tokens=12, min_new_tokens=12)
    assert long.startswith(ranker.write(prompt, max_new_tokens=5, min_new_tokens=5))
    assert sorted(ranker.rank(["heat"], ["alien", "war"], [1, 0])) == [0, 1]


def test_titles_are_looked_for_as_the_prompt_shows_them(monkeypatch: pytest.MonkeyPatch) -> None:
    layout = PromptLayout(max_title_characters=8)
    make_model, make_tokenizer = FAMILIES["llama"]
    ranker = GenerativeRanker(LabelModel("llama", make_model(), make_tokenizer()), layout)
    monkeypatch.setattr(ranker, "write", lambda *_, **__: "1. The Lor…\n2. Heat")
    candidates = ["Heat", "Alien", "The  Lord of the Rings"]
    assert ranker.rank([], candidates, [0, 1, 2]) == [2, 0, 1]
