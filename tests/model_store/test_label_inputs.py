"""Arrays of a reranker's graph: plain prompts, and ends that share a beginning."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_store.label_inputs import LabelInputs, TokenTree, make_label_inputs

SOME_TOKENS = st.lists(st.integers(1, 99), min_size=1, max_size=6)
TREES = st.builds(
    TokenTree, st.lists(st.integers(1, 99), max_size=6), st.lists(SOME_TOKENS, min_size=1)
)


def test_plain_prompts_are_causal_and_padded_on_the_right() -> None:
    inputs = make_label_inputs([TokenTree((), [(5, 6, 7)]), TokenTree((), [(8,)])])
    assert inputs.tokens.tolist() == [[5, 6, 7], [8, 0, 0]]
    assert inputs.positions.tolist() == [[0, 1, 2], [0, 0, 0]]
    assert inputs.read_at.tolist() == [[2], [0]]
    np.testing.assert_array_equal(inputs.mask[0], np.tri(3))
    np.testing.assert_array_equal(inputs.mask[1], np.eye(3))


def test_ends_share_the_beginning_and_do_not_see_each_other() -> None:
    inputs = make_label_inputs([TokenTree((1, 2), [(3,), (4, 5)])])
    assert inputs.tokens.tolist() == [[1, 2, 3, 4, 5]]
    assert inputs.positions.tolist() == [[0, 1, 2, 2, 3]]
    assert inputs.read_at.tolist() == [[2, 4]]
    assert inputs.mask[0].astype(int).tolist() == [
        [1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [1, 1, 1, 0, 0],
        [1, 1, 0, 1, 0],
        [1, 1, 0, 1, 1],
    ]


@given(st.lists(TREES, min_size=1, max_size=3))
def test_each_end_reads_as_if_it_followed_the_beginning_alone(prompts: list[TokenTree]) -> None:
    inputs = make_label_inputs(prompts)
    assert inputs.mask.any(axis=2).all()
    for number, prompt in enumerate(prompts):
        for place, end in enumerate(prompt.ends):
            assert _read(inputs, number, place) == [*prompt.beginning, *end]


def _read(inputs: LabelInputs, number: int, place: int) -> list[int]:
    """The tokens that an answer depends on, by their positions."""
    seen = inputs.mask[number, inputs.read_at[number, place]]
    order = np.argsort(inputs.positions[number, seen])
    assert (np.sort(inputs.positions[number, seen]) == np.arange(seen.sum())).all()
    return [int(token) for token in inputs.tokens[number, seen][order]]


@pytest.mark.parametrize("ends", [[], [[]], [[1], []]])
def test_an_answer_needs_a_place(ends: list[list[int]]) -> None:
    with pytest.raises(ValueError, match="a token or more"):
        TokenTree([1, 2], ends)
