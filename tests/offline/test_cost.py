"""What a build says it will take. Clocks are set by hand: nothing depends on the machine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from offline.build import Build
from offline.cost import Cost, duration, knowledge_cost
from offline.inputs import Source
from offline.knowledge.answers import AnswerLog, StoredAnswer, answer_key
from offline.knowledge.config import KnowledgeConfig
from offline.knowledge.generation import cache_file, find_known
from offline.knowledge.language_model import Answer, Sampling
from offline.knowledge.pace import measure_generation
from offline.knowledge.prompt import Prompt, read_template
from offline.recipe import change_recipe, read_recipe
from offline.recommender.config import SasrecConfig, TrainingConfig
from offline.recommender.sequential import SequenceRecommender
from offline.stages.data import DataStage
from offline.stages.stage import run_stage
from offline.training.group import Group
from offline.training.pace import measure_pace
from offline.training.trainer import Phase, Plan
from tests.offline.knowledge.stand_ins import RecitingModel, sound_answer, texts_of
from tests.offline.recommender.planted import planted_cycle


class Clock:
    """`time.perf_counter` that goes on only when it is told to."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("time.perf_counter", clock)
    return clock


class TimedModel(RecitingModel):
    """Takes 2 s to read a batch of prompts and a tenth of a second for each token of it."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.clock = clock

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[Answer]:
        self.clock.now_s += 2.0 + 0.1 * sampling.max_new_tokens
        self.asked += [(prompt, sampling) for prompt in prompts]
        return [Answer(sound_answer(prompt, sampling), 1) for prompt in prompts]


class TimedTask:
    """Batches of 1 to 10 hundredths of a second, shuffled."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.module = torch.nn.Linear(3, 1)

    def begin(self, phase: str) -> None:
        assert phase == "all"

    def batches(self, rng: np.random.Generator) -> Sequence[int]:
        return [int(size) for size in rng.permutation(np.repeat(np.arange(1, 11), 100))]

    def loss(self, batch: int, _rng: np.random.Generator) -> Tensor:
        self.clock.now_s += batch / 100
        return self.module(torch.ones(batch, 3)).mean()

    def validate(self) -> float | None:
        return None


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "1 s"), (42.4, "42 s"), (150, "2 min"), (5_400, "90 min"), (7_800, "2 h 10 min")],
)
def test_a_duration_is_written_in_words(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_a_cost_names_its_basis() -> None:
    cost = Cost("encoding", "12 texts", 8.0, "3 texts/s, measured on 2")
    assert str(cost) == "encoding: 12 texts; about 8 s (3 texts/s, measured on 2)"
    assert str(Cost("knowledge", "none")) == "knowledge: none"


def test_generation_is_timed_on_one_batch(clock: Clock) -> None:
    model = TimedModel(clock)
    config = KnowledgeConfig(model="timed", max_new_tokens=64)
    pace = measure_generation(texts_of(*"abcdefghij"), config, model)
    # A batch is of four prompts, and takes 2 s and a tenth for each of 64 tokens.
    assert pace.n_measured == 4
    assert pace.item_s == pytest.approx((2.0 + 6.4) / 4)
    assert sum(sampling.max_new_tokens for _, sampling in model.asked) < 4 * 16


def test_an_epoch_is_timed_on_some_steps_that_change_nothing(clock: Clock) -> None:
    task = TimedTask(clock)
    before = [parameter.detach().clone() for parameter in task.module.parameters()]
    plan = Plan([Phase("all", 3)], 3, 0, 0.1, lambda *_: 0.1, 0.0)
    pace = measure_pace(task, plan, budget_s=3.0)
    assert 20 < pace.n_measured < 200
    assert pace.epoch_s == pytest.approx(55.0, rel=0.2)
    after = list(task.module.parameters())
    assert all(torch.equal(old, new) for old, new in zip(before, after, strict=True))


def test_measuring_a_training_leaves_what_it_comes_to_as_it_is() -> None:
    data = planted_cycle()
    config = SasrecConfig(embedding_size=16, max_length=12)
    training = TrainingConfig(epochs=2)
    measured = SequenceRecommender(config, training)
    assert measured.measure_pace(data).n_measured > 0
    table = measured.fit(data).item_table
    assert np.array_equal(table, SequenceRecommender(config, training).fit(data).item_table)


def test_before_a_training_by_several_none_of_them_trains_alone(tmp_path: Path) -> None:
    """It would hold the whole table, and the moments of all of its rows."""
    table = tmp_path / "interactions.csv"
    rows = [f"u{user},i{(user + at) % 7},{at}" for user in range(6) for at in range(4)]
    table.write_text("\n".join(["user_id,item_id,timestamp", *rows]))
    source, plain = Source(table, None, "film"), {"model": "none"}
    recipe = read_recipe("ids")
    recipe = change_recipe(recipe, "", knowledge=plain, encoding={"encoder": "none"})
    data = run_stage(DataStage(source, "leave_one_out", print), tmp_path)
    said: dict[int, str] = {}
    for size in (1, 2):
        lines: list[str] = []
        build = Build(source, recipe, tmp_path, log=lines.append, group=Group(0, size))
        build.announce_cost(data)
        said[size] = "\n".join(lines)
    assert "steps)" in said[1]
    assert "steps)" not in said[2]
    assert "recommender: trained by 2 processes together; the time that takes is not" in said[2]
    assert "together: without the recommender; with what else there is" in said[2]


def known_of(config: KnowledgeConfig, titles: str, cached: str, cache: Path) -> str:
    texts = texts_of(*titles)
    template = read_template(config.prompt)
    with AnswerLog(cache_file(config, cache)) as log:
        log.append(
            StoredAnswer(answer_key(config, template, text), "Known.", None, 1)
            for text in texts_of(*cached)
        )
    known = find_known(texts, config, cache)
    return str(knowledge_cost(known, config, cache, writes=config.generates))


def test_known_and_unknown_items_are_counted_separately(tmp_path: Path) -> None:
    said = known_of(KnowledgeConfig(), "abcde", "ab", tmp_path)
    assert said.startswith("knowledge: 5 items")
    assert "2 in the cache" in said
    assert "3 known by their own texts (--generate:" in said


def test_nothing_is_measured_where_all_items_are_known(tmp_path: Path) -> None:
    said = known_of(KnowledgeConfig(model="no/such-model"), "ab", "ab", tmp_path)
    assert said.startswith("knowledge: 2 items")
    assert "about" not in said


def test_without_a_model_items_are_known_by_their_own_texts(tmp_path: Path) -> None:
    assert "known by their own texts" in known_of(KnowledgeConfig(model="none"), "ab", "", tmp_path)
