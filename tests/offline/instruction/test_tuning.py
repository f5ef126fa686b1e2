"""Tuning on walks: the right candidate is the one that comes next on the ring."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from model_store.errors import ConfigError, InputError
from offline.instruction.adapters import ADAPTER, ADAPTER_CONFIG, TunedWeights
from offline.instruction.config import InstructionTuningConfig
from offline.instruction.example_report import ExampleReport
from offline.instruction.examples import Examples, Ranking, Rating
from offline.instruction.instructions import Instruction, Instructor
from offline.instruction.label_tuning import LabelTuning
from offline.instruction.questions import Question
from offline.instruction.tunable import Tunable, open_tunable, open_tuned
from offline.instruction.tuning import Tuned, split_by_user, tune
from tests.offline.instruction.tiny_models import FAMILIES, LAYOUT, save_family
from tests.offline.instruction.walks import TITLES

EXAMPLES = Examples(
    [
        Ranking(Question(user, (3, 9, 1 + user % 4), (20, 2 + user % 4, 30)), 1)
        for user in range(12)
    ],
    [Rating(Question(user, (3, 4, 5), (8 + user % 3,)), 1 + user % 3) for user in range(6)],
    ExampleReport(),
)


@pytest.fixture(scope="module", params=sorted(FAMILIES))
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_family(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_family("llama", tmp_path_factory.mktemp("llama"))


def settings(folder: Path, **choices: object) -> InstructionTuningConfig:
    values = {"model": str(folder), "batch_size": 4, "warm_up_steps": 2, "held_out_share": 0.0}
    return InstructionTuningConfig.model_validate(
        values | {"epochs": 4, "learning_rate": 0.01, "device": "cpu"} | choices
    )


def run(config: InstructionTuningConfig, checkpoints: Path | None = None) -> tuple[Tunable, Tuned]:
    tunable = open_tunable(config, Path("unused"))
    result = tune(tunable.model, tunable.weights, EXAMPLES, LAYOUT, TITLES, config, checkpoints)
    return tunable, result


@pytest.fixture(scope="module")
def tuned(llama: Path) -> tuple[Tunable, Tuned]:
    """Tuned as `settings` has it, for tests that only read it."""
    return run(settings(llama))


def test_tuning_teaches_a_model_of_either_family_what_comes_next(folder: Path) -> None:
    _, result = run(settings(folder, epochs=12, learning_rate=0.03, held_out_share=0.3))
    assert result.before is not None
    assert result.after is not None
    losses = [epoch.loss for epoch in result.record.epochs if epoch.loss is not None]
    assert losses[-1] < 0.8 * losses[0]
    assert result.after.loss < result.before.loss
    assert result.before.ndcg == result.record.epochs[0].figure
    assert result.after.ndcg == result.record.best_figure > result.before.ndcg
    assert result.tokens_per_s > 0


@pytest.mark.parametrize("loss", ["labels", "vocabulary"])
@pytest.mark.parametrize("method", ["lora", "full"])
def test_every_way_of_tuning_lowers_the_loss(llama: Path, method: str, loss: str) -> None:
    _, result = run(settings(llama, method=method, loss=loss, epochs=6, adapter_dropout=0.1))
    losses = [epoch.loss for epoch in result.record.epochs]
    assert losses[-1] < losses[0]


def test_training_in_bfloat16_on_a_cpu_comes_near_that_in_float32(
    llama: Path, tuned: tuple[Tunable, Tuned]
) -> None:
    losses = []
    assert settings(llama).precision == "auto"
    for tunable, result in (tuned, run(settings(llama, precision="bfloat16"))):
        losses.append([epoch.loss for epoch in result.record.epochs])
        assert {weight.dtype for weight in tunable.weights.parameters()} == {torch.float32}
    assert losses[1][0] != losses[0][0]
    assert losses[1][0] == pytest.approx(losses[0][0], rel=0.05)
    assert losses[1][-1] < losses[1][0]


def test_an_adapter_leaves_the_models_own_weights_alone(
    llama: Path, tuned: tuple[Tunable, Tuned]
) -> None:
    before = dict(open_tunable(settings(llama), llama).model.model.named_parameters())
    tunable, result = tuned
    after = dict(tunable.model.model.named_parameters())
    own = [name for name in after if "lora" not in name]
    assert all(torch.equal(before[name], after[name]) for name in own)
    assert not any(after[name].requires_grad for name in own)
    # 2 layers, rank 8: queries and outputs 32 → 32, keys and values 32 → 16.
    assert result.n_parameters == 2 * 8 * (2 * (32 + 32) + 2 * (32 + 16))


def test_an_adapter_of_the_upper_layers_leaves_those_below_as_they_are(folder: Path) -> None:
    tunable = open_tunable(settings(folder, upper_layers=1), folder)
    named = [name for name, p in tunable.model.model.named_parameters() if p.requires_grad]
    assert len(named) == 2 * 4
    assert all(".layers.1." in name for name in named)
    with pytest.raises(ConfigError, match=r"upper_layers 3: .* has 2 layers"):
        open_tunable(settings(folder, upper_layers=3), folder)


class StoppedError(Exception):
    pass


@pytest.mark.parametrize("method", ["lora", "full"])
def test_a_tuning_killed_in_any_step_comes_to_the_same(
    llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    config = settings(llama, method=method, adapter_dropout=0.2, save_every_s=1e-9, epochs=2)
    whole, wanted = run(config)
    loss = LabelTuning.loss
    left = 7  # an epoch has five steps

    def interrupted(
        task: LabelTuning, batch: list[Instruction], rng: np.random.Generator
    ) -> torch.Tensor:
        nonlocal left
        left -= 1
        if left < 0:
            raise StoppedError
        return loss(task, batch, rng)

    with monkeypatch.context() as patched:
        patched.setattr(LabelTuning, "loss", interrupted)
        with pytest.raises(StoppedError):
            run(config, tmp_path)
    left = 99
    resumed, found = run(config, tmp_path)
    assert [epoch.loss for epoch in found.record.epochs] == [
        epoch.loss for epoch in wanted.record.epochs
    ]
    for one, other in zip(whole.weights.parameters(), resumed.weights.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_checkpoint_holds_the_adapter_and_not_the_model(llama: Path, tmp_path: Path) -> None:
    _, result = run(settings(llama), tmp_path)
    (checkpoint,) = tmp_path.iterdir()
    # Weights, their best and the two moments of the optimizer, float32 each.
    assert checkpoint.stat().st_size < 4 * 4 * result.n_parameters + 20_000


@pytest.mark.parametrize("method", ["lora", "full"])
def test_a_saved_model_scores_as_the_tuned_one(llama: Path, tmp_path: Path, method: str) -> None:
    config = settings(llama, method=method)
    tunable, _ = run(config)
    tunable.save(tmp_path)
    prompts = [EXAMPLES.rankings[0].question.listwise(LAYOUT, TITLES, [2, 0, 1])]
    wanted = tunable.model.scores(prompts, [3])[0]
    found = open_tuned(config, tmp_path, tmp_path).scores(prompts, [3])[0]
    # An adapter is kept in half precision.
    np.testing.assert_allclose(found, wanted, atol=2e-2 if method == "lora" else 1e-5)
    untuned = open_tunable(config, tmp_path).model.scores(prompts, [3])[0]
    assert np.abs(untuned - wanted).max() > 0.05


def test_tuning_goes_on_from_another_adapter(
    llama: Path, tuned: tuple[Tunable, Tuned], tmp_path: Path
) -> None:
    first, _ = tuned
    first.save(tmp_path)
    found = open_tunable(settings(llama, start=str(tmp_path)), llama)
    for one, other in zip(first.weights.parameters(), found.weights.parameters(), strict=True):
        np.testing.assert_allclose(other.detach(), one.detach(), rtol=1e-3, atol=1e-6)
    with pytest.raises(InputError, match="of another rank, or in other layers"):
        open_tunable(settings(llama, start=str(tmp_path), rank=4), llama)
    with pytest.raises(InputError, match="not a readable adapter"):
        open_tunable(settings(llama, start=str(tmp_path / "none")), llama)
    with pytest.raises(ValueError, match="name the folder as model"):
        settings(llama, start=str(tmp_path), method="full")


def test_an_adapters_files_are_small_and_name_no_folder(
    tuned: tuple[Tunable, Tuned], tmp_path: Path
) -> None:
    tunable, result = tuned
    tunable.save(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {ADAPTER, ADAPTER_CONFIG}
    assert (tmp_path / ADAPTER).stat().st_size < 2 * result.n_parameters + 4_000


def test_an_adapter_of_another_model_is_one_clear_line(llama: Path, tmp_path: Path) -> None:
    config = settings(llama)
    with pytest.raises(InputError, match="holds no adapter"):
        open_tuned(config, tmp_path, tmp_path)
    other = settings(llama, rank=4)
    open_tunable(other, tmp_path).save(tmp_path)
    (tmp_path / ADAPTER).write_bytes(b"damaged")
    with pytest.raises(InputError, match="not an adapter of this model") as caught:
        open_tuned(config, tmp_path, tmp_path)
    assert "\n" not in str(caught.value)


def test_modules_that_the_model_lacks_are_one_clear_line(llama: Path) -> None:
    with pytest.raises(ConfigError, match=r"modules query_key_value: .* has no linear layers"):
        open_tunable(settings(llama, modules=("query_key_value",)), llama)


def test_without_examples_there_is_one_clear_line(llama: Path) -> None:
    config = settings(llama)
    tunable = open_tunable(config, llama)
    nothing = Examples([], [], ExampleReport())
    with pytest.raises(InputError, match="no examples"):
        tune(tunable.model, tunable.weights, nothing, LAYOUT, TITLES, config)


def test_held_out_examples_are_those_of_whole_users() -> None:
    trained, held_out = split_by_user(EXAMPLES, 0.3, seed=0)
    users = [{example.question.user for example in part} for part in (trained, held_out)]
    assert not users[0] & users[1]
    assert len(users[1]) == 3
    assert len(trained) + len(held_out) == len(EXAMPLES.rankings) + len(EXAMPLES.ratings)


def test_candidates_are_shown_in_an_order_of_their_own_each_epoch(llama: Path) -> None:
    encoder = open_tunable(settings(llama), llama).model.encoder
    instructor = Instructor(encoder, LAYOUT, TITLES)
    rng = np.random.default_rng(0)
    answers = np.array([[i.answer for i in instructor.write(EXAMPLES.rankings, rng)] for _ in "ab"])
    assert {*answers.flat} == {0, 1, 2}
    assert (answers[0] != answers[1]).any()
    for example, instruction in zip(
        EXAMPLES.rankings, instructor.write(EXAMPLES.rankings, rng), strict=True
    ):
        text = encoder.tokenizer.decode([*instruction.prompt, *instruction.text])
        title = TITLES[example.question.candidates[example.target] - 1]
        label = "ABC"[instruction.answer]
        assert f"\n{label}. {title}\n" in text
        # The text of the answer ranks the target first and the others as the recommender does.
        assert f"Answer: {label}" in text
        prediction = text.split("Prediction: ")[1].split("\n")[0].split()
        others = [name for name in prediction if name != label]
        assert text.split("Answer: ")[1].removesuffix("<eos>").split() == [label, *others]


def test_parts_of_prompts_are_left_out_at_random_in_training_alone(
    llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    question = Question(0, (1, 2), (3, 4), (5, 6))
    examples = replace(
        EXAMPLES, rankings=[Ranking(replace(question, user=user), 0) for user in range(80)]
    )
    parts = ("Similar user: film 5; film 6\n", "\nPrediction: ")
    decode = open_tunable(settings(llama), llama).model.encoder.tokenizer.decode
    loss = LabelTuning.loss
    trained = Counter[tuple[bool, ...]]()

    def watched(
        task: LabelTuning, batch: list[Instruction], rng: np.random.Generator
    ) -> torch.Tensor:
        trained.update(tuple(part in decode(one.prompt) for part in parts) for one in batch)
        return loss(task, batch, rng)

    monkeypatch.setattr(LabelTuning, "loss", watched)
    config = settings(llama, part_dropout=0.5, epochs=1)
    tunable = open_tunable(config, llama)
    tune(tunable.model, tunable.weights, examples, LAYOUT, TITLES, config)
    assert min(trained[form] for form in itertools.product((True, False), repeat=2)) > 5
    whole = Instructor(tunable.model.encoder, LAYOUT, TITLES, 0.5).write(examples.rankings, None)
    assert all(part in decode(one.prompt) for one in whole for part in parts)


def test_tied_weights_are_tuned_once(llama: Path) -> None:
    model = open_tunable(settings(llama, method="full"), llama).model.model
    assert TunedWeights(model).n_parameters == sum(p.numel() for p in model.parameters())
