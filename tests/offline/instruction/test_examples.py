from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from model_store.errors import InputError
from offline.data.interactions import Interactions
from offline.data.split import Split, leave_one_out
from offline.instruction.config import InstructionConfig
from offline.instruction.examples import Examples, make_examples, training_ratings
from offline.recommender.recommender import TrainingData, rank_unseen
from tests.offline.instruction.tiny_models import LAYOUT
from tests.offline.instruction.walks import (
    N_ITEMS,
    TITLES,
    CountingRecommender,
    make_interactions,
    was_trained_on,
)

CONFIG = InstructionConfig(layout=LAYOUT, folds=3, positions_per_user=6)


class AlikeRecommender(CountingRecommender):
    """The recommender of every fold is itself."""

    def refit(self, *_: object) -> CountingRecommender:
        return self


def make(
    config: InstructionConfig = CONFIG, titles: list[str] = TITLES
) -> tuple[Examples, CountingRecommender, TrainingData, Split, Interactions]:
    interactions = make_interactions()
    split = leave_one_out(interactions)
    data = TrainingData.of_split(split, N_ITEMS)
    base = CountingRecommender(data)
    examples = make_examples(base, data, training_ratings(interactions, split), titles, config)
    return examples, base, data, split, interactions


def test_no_held_out_item_enters_a_prompt_but_as_a_candidate_at_the_recommenders_place() -> None:
    examples, _, data, split, interactions = make()
    n_held_out_candidates = 0
    for example in [*examples.rankings, *examples.ratings]:
        question = example.question
        sequence = data.sequences[question.user].tolist()
        held_out = set(interactions.history(question.user).tolist()) - set(sequence)
        asked = (
            question.candidates[example.target]
            if example in examples.rankings
            else question.candidates[0]
        )
        position = sequence.index(asked)
        # The history is the user's training items right before the target, and nothing else.
        assert list(question.history) == sequence[:position][-LAYOUT.n_history :]
        others = [
            items.tolist() for user, items in enumerate(data.sequences) if user != question.user
        ]
        assert any(list(question.similar) == items[-LAYOUT.n_similar :] for items in others)
        assert not held_out & {*question.history, asked}
        n_held_out_candidates += len(held_out & {*question.candidates})
    # It does happen that the recommender itself proposes a held-out item; see the next test.
    assert n_held_out_candidates > 0
    assert len(split.test) > 0


def test_candidates_and_their_order_are_those_of_a_recommender_not_trained_on_the_user() -> None:
    examples, base, data, _, _ = make()
    assert len(base.refitted) == CONFIG.folds
    for example in examples.rankings:
        question = example.question
        sequence = data.sequences[question.user]
        (model,) = [m for m in base.refitted if not was_trained_on(m, sequence)]
        position = sequence.tolist().index(question.candidates[example.target])
        ranked, _ = rank_unseen(model.score, [sequence[:position]], LAYOUT.n_candidates)
        assert list(question.candidates) == ranked[0].tolist()


def test_every_position_is_an_example_or_counted_with_a_reason() -> None:
    examples, _, data, _, _ = make()
    report = examples.report
    lengths = np.array([len(items) for items in data.sequences])
    positions = np.minimum(np.maximum(lengths - 2, 0), CONFIG.positions_per_user)[lengths >= 3]
    assert report.positions == positions.sum()
    assert report.positions == report.rankings + sum(report.left_out.values())
    assert report.positions == report.ratings + sum(report.ratings_left_out.values())
    assert report.users_with_few == ((lengths > 0) & (lengths < 3)).sum() > 0
    assert report.left_out["target is not among the candidates"] > 0
    assert sum(report.target_places.values()) == report.rankings == len(examples.rankings) > 0
    assert sum(report.rating_counts.values()) == report.ratings == len(examples.ratings) > 0


def test_where_a_limit_cuts_the_users_with_the_fewest_interactions_are_kept() -> None:
    everything, _, data, _, _ = make()
    few, _, _, _, _ = make(CONFIG.model_copy(update={"max_rankings": 9, "max_ratings": 4}))
    assert few.rankings == everything.rankings[:9]
    assert few.ratings == everything.ratings[:4]
    lengths = [len(data.sequences[example.question.user]) for example in everything.rankings]
    assert lengths == sorted(lengths)
    assert few.report.users_beyond_limits > 0


def test_ratings_are_those_of_the_training_items() -> None:
    examples, _, data, _, interactions = make()
    for example in examples.ratings:
        user, (item,) = example.question.user, example.question.candidates
        row = interactions.history(user).tolist().index(item)
        assert row < len(data.sequences[user])
        assert example.rating == interactions.ratings[interactions.offsets[user] + row]


@pytest.mark.parametrize(
    ("given", "expected"),
    [([0.5, 2.5, 5.0, 3.4], [1, 3, 5, 3]), ([1, 2, 9, 10], [1, 1, 5, 5]), ([1, 3, 4], [1, 3, 4])],
)
def test_ratings_of_any_scale_are_whole_numbers_to_five(
    given: list[float], expected: list[int]
) -> None:
    interactions = make_interactions(1)
    ratings = np.array(given, np.float32)
    n = len(ratings)
    whole = Interactions(
        ["u"],
        interactions.item_ids,
        np.array([0, n]),
        np.arange(1, n + 1, dtype=np.int32),
        np.arange(n, dtype=np.float64),
        ratings,
    )
    split = leave_one_out(whole)
    (found,) = training_ratings(whole, split) or []
    assert found.tolist() == expected[: n - 2]


def test_without_ratings_there_are_list_wise_examples_only() -> None:
    interactions = make_interactions()
    split = leave_one_out(interactions)
    data = TrainingData.of_split(split, N_ITEMS)
    examples = make_examples(CountingRecommender(data), data, None, TITLES, CONFIG)
    assert examples.rankings
    assert not examples.ratings


def test_a_target_whose_title_another_candidate_has_is_left_out() -> None:
    examples, _, _, _, _ = make(titles=["the same"] * N_ITEMS)
    assert not examples.rankings
    assert examples.report.left_out["another candidate has the target's title"] > 0


def test_equal_prompts_are_one_example() -> None:
    interactions = make_interactions(8)
    split = leave_one_out(interactions)
    once = TrainingData.of_split(split, N_ITEMS)
    twice = TrainingData([*once.sequences, *once.sequences], N_ITEMS)
    layout = LAYOUT.model_copy(update={"n_similar": 0})
    # With folds that hold the same walks, every other position of a walk is asked about again.
    config = CONFIG.model_copy(update={"layout": layout, "folds": 2})
    base = AlikeRecommender(twice)
    examples = make_examples(base, twice, None, TITLES, config)
    keys = [(e.question.history, e.question.candidates, e.target) for e in examples.rankings]
    assert len(set(keys)) == len(keys)
    assert examples.report.left_out["duplicate"] >= len(keys)


def test_examples_are_read_as_they_were_saved(tmp_path: Path) -> None:
    examples, _, _, _, _ = make()
    examples.save(tmp_path)
    assert Examples.load(tmp_path) == examples
    (tmp_path / "rankings.jsonl").write_text("{")
    with pytest.raises(InputError, match="not readable"):
        Examples.load(tmp_path)


def test_samples_show_prompt_and_answer() -> None:
    examples, _, _, _, _ = make()
    sample = examples.report.samples[0]
    assert sample["prompt"].startswith(LAYOUT.instruction)
    assert sample["prompt"].endswith("Answer:")
    target = examples.rankings[0]
    title = TITLES[target.question.candidates[target.target] - 1]
    assert f"{sample['answer'].strip()}. {title}" in sample["prompt"]
    assert examples.report.samples[-1]["prompt"].endswith("Rating:")


def test_fewer_users_than_folds_are_reported() -> None:
    data = TrainingData([np.array([1, 2, 3], np.int32)], N_ITEMS)
    with pytest.raises(InputError, match="1 users make no 3 folds"):
        make_examples(CountingRecommender(data), data, None, TITLES, CONFIG)
