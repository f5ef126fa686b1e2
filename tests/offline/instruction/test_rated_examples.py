"""Point-wise examples and questions hold training ratings alone; kills and scales do no harm."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from model_store.errors import InputError
from model_store.rerank_prompt import PromptLayout
from offline.instruction.asked_ratings import ask_ratings
from offline.instruction.label_scorer import Float32
from offline.instruction.rated_examples import make_rated_examples
from offline.instruction.rating_config import RatingInstructionConfig
from offline.instruction.rating_scale import RatingScale
from offline.rating.ratings import Ratings

TITLES = [f"Film {item}" for item in range(1, 9)]
LAYOUT = RatingInstructionConfig(n_history=3).layout


def ratings(*rows: tuple[int, int, float]) -> Ratings:
    users, items, values = (np.array(column) for column in zip(*rows, strict=True))
    return Ratings(users.astype(np.int32), items.astype(np.int32), values.astype(np.float32))


TRAIN = ratings((1, 1, 5), (1, 2, 1), (1, 3, 4), (1, 4, 2), (2, 5, 3), (3, 1, 2), (3, 6, 5))
HELD_OUT = ratings((3, 7, 4), (1, 8, 1), (3, 8, 2), (2, 7, 3), (1, 7, 5))


class Echo:
    """Rates film n with n / 2; may be killed at a user."""

    def __init__(self, killed_at: int | None = None) -> None:
        self.asked: list[str] = []
        self._killed_at = killed_at

    def scores(self, prompts: Sequence[str], n_labels: Sequence[int]) -> list[Float32]:
        raise NotImplementedError

    def ratings(self, beginnings: Sequence[str], ends: Sequence[Sequence[str]]) -> list[Float32]:
        if len(self.asked) == self._killed_at:
            raise KeyboardInterrupt
        self.asked += beginnings
        return [
            np.array([int(end.split("Film ")[1].split("\n")[0]) / 2 for end in own], np.float32)
            for own in ends
        ]


def test_an_example_shows_the_users_other_ratings_and_asks_for_one() -> None:
    examples = make_rated_examples(TRAIN, TITLES, LAYOUT, max_examples=100, seed=0)
    assert examples.report.ratings_left_out == {"the user has no other rating": 1}
    asked = {(each.question.user, each.question.candidates): each for each in examples.ratings}
    assert len(asked) == len(TRAIN) - 1
    example = asked[1, (2,)]
    assert example.rating == 1
    beginning, [end] = example.question.pointwise(LAYOUT, TITLES)
    assert beginning.endswith("History: Film 1: 5; Film 3: 4; Film 4: 2\n")
    assert end == "Candidate: Film 2\nRating:"
    some = make_rated_examples(TRAIN, TITLES, LAYOUT, max_examples=2, seed=0)
    assert some.ratings == examples.ratings[:2]
    assert len(examples.report.samples) == 3


def test_prompts_about_held_out_pairs_hold_training_ratings_alone(tmp_path: Path) -> None:
    model = Echo()
    found = ask_ratings(model, TRAIN, HELD_OUT, TITLES, LAYOUT, tmp_path / "asked.f32")
    assert found.tolist() == [item / 2 for item in HELD_OUT.items]
    shown = "\n".join(model.asked)
    assert "Film 7" not in shown
    assert "Film 8" not in shown
    assert model.asked[0].endswith("History: Film 2: 1; Film 3: 4; Film 4: 2\n")


def test_a_killed_run_goes_on_with_the_user_it_was_at(tmp_path: Path) -> None:
    path = tmp_path / "asked.f32"
    with pytest.raises(KeyboardInterrupt):
        ask_ratings(Echo(killed_at=2), TRAIN, HELD_OUT, TITLES, LAYOUT, path)
    with path.open("ab") as file:
        file.write(np.array([0.0], "<f4").tobytes())  # half of user 3's
    model = Echo()
    found = ask_ratings(model, TRAIN, HELD_OUT, TITLES, LAYOUT, path)
    assert len(model.asked) == 1
    assert found.tolist() == [item / 2 for item in HELD_OUT.items]


def test_a_rating_that_is_no_number_is_an_error(tmp_path: Path) -> None:
    class Broken(Echo):
        def ratings(
            self,
            beginnings: Sequence[str],  # noqa: ARG002
            ends: Sequence[Sequence[str]],
        ) -> list[Float32]:
            return [np.full(len(own), np.nan, np.float32) for own in ends]

    with pytest.raises(InputError, match="no number"):
        ask_ratings(Broken(), TRAIN, HELD_OUT, TITLES, LAYOUT, tmp_path / "asked.f32")


@pytest.mark.parametrize(
    ("values", "steps"),
    [([0.5, 3.5, 5.0], [1, 4, 5]), ([1.0, 7.0, 10.0], [1, 4, 5]), ([2.0, 3.0, 4.0], [2, 3, 4])],
)
def test_scales_are_shrunk_to_five_and_back(values: list[float], steps: list[int]) -> None:
    scale = RatingScale.of(np.array(values, np.float32))
    found = scale.steps_of(np.array([*values, np.nan], np.float32))
    assert found[:3].tolist() == steps
    assert np.isnan(found[3])
    assert scale.rating_of(np.array([5.0], np.float32))[0] == max(5.0, values[-1])


def test_a_history_with_ratings_is_cut_like_its_titles() -> None:
    layout = PromptLayout(n_history=2, n_similar=0)
    beginning, _ = layout.pointwise(["a", "b", "c"], ["d"], ratings=[1, 2, 3])
    assert "History: b: 2; c: 3\n" in beginning
