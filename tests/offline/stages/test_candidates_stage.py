"""What a reranker is asked: the same however the cases are divided."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from model_store.rerank_prompt import PromptLayout
from offline.instruction.questions import Questioner
from offline.recommender.recommender import TrainingData
from offline.stages import candidates
from offline.stages.candidates import CandidatesStage
from offline.stages.stage import run_stage
from tests.offline.stages.first_stages import make_first_stages

LAYOUT = PromptLayout(n_candidates=10, n_history=4, n_similar=3)


def test_cases_are_those_within_reach_with_their_questions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(candidates, "_BATCH", 4)
    monkeypatch.setattr(candidates, "_CASES", 8)
    data, _, fitted = make_first_stages(tmp_path)
    stage = CandidatesStage(data, fitted, LAYOUT)
    made = run_stage(stage, tmp_path)
    assert sorted(path.name for path in made.folder.iterdir()) == [
        "stage.json",
        "test.json",
        "validation.json",
    ]
    split = data.split()
    sequences = TrainingData.of_split(split, data.n_items).sequences
    questioner = Questioner(fitted.model(), sequences, LAYOUT)
    for part in ("validation", "test"):
        cases, asked = getattr(split, part), made.asked(part)
        everything = questioner.ask(
            cases.users, [cases.history(case) for case in range(len(cases))]
        )
        within = [
            case
            for case, question in enumerate(everything)
            if cases.targets[case] in question.candidates
        ]
        assert 5 < len(within) < len(cases)
        assert asked.cases.tolist() == within
        assert asked.questions == [everything[case] for case in within]
        assert any(question.similar for question in asked.questions)
        for question, case, position in zip(
            asked.questions, asked.cases, asked.positions, strict=True
        ):
            assert question.candidates[position] == cases.targets[case]
    n_asked = len(made.asked("test").cases)
    few = run_stage(replace(stage, n_users=10), tmp_path)
    assert 0 < len(few.asked("test").cases) < n_asked
