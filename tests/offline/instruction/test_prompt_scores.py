from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from offline.instruction.label_scorer import Float32
from offline.instruction.prompt_scores import measure_prompt_s, read_scores, score_prompts

PROMPTS = [f"prompt {number}" for number in range(50)]
N_LABELS = [2 + number % 19 for number in range(50)]


@dataclass
class NumberScorer:
    """Scores a prompt by its number; fails once when it has answered `until` prompts."""

    until: int = 1_000
    asked: list[str] = field(default_factory=list)

    def scores(self, prompts: Sequence[str], n_labels: Sequence[int]) -> list[Float32]:
        if len(self.asked) >= self.until:
            raise KeyboardInterrupt
        self.asked += prompts
        return [
            np.arange(n, dtype=np.float32) + int(prompt.split()[1])
            for prompt, n in zip(prompts, n_labels, strict=True)
        ]

    def ratings(self, beginnings: Sequence[str], ends: Sequence[Sequence[str]]) -> list[Float32]:
        raise NotImplementedError


def test_a_killed_run_goes_on_behind_the_last_whole_row(tmp_path: Path) -> None:
    path = tmp_path / "scores"
    with pytest.raises(KeyboardInterrupt):
        score_prompts(NumberScorer(until=30), PROMPTS, N_LABELS, path)
    with path.open("ab") as file:
        file.write(b"torn")
    rest = NumberScorer()
    scores = score_prompts(rest, PROMPTS, N_LABELS, path)
    assert rest.asked == PROMPTS[32:]
    for number, of_prompt in enumerate(scores):
        assert of_prompt.tolist() == [number + label for label in range(N_LABELS[number])]
    again = NumberScorer()
    score_prompts(again, PROMPTS, N_LABELS, path)
    assert again.asked == []
    assert [len(row) for row in read_scores(path, N_LABELS)] == N_LABELS


def test_a_pace_is_measured_on_prompts_of_medium_length() -> None:
    prompts = [f"prompt {number} {'x' * number}" for number in range(50)]
    scorer = NumberScorer()
    assert measure_prompt_s(scorer, prompts, N_LABELS) > 0
    assert set(scorer.asked) == set(prompts[23:27])
    assert measure_prompt_s(NumberScorer(), prompts[:1], N_LABELS[:1]) > 0
