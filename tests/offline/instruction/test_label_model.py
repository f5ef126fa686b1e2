from pathlib import Path

import numpy as np
import pytest
import torch

from model_store.errors import ConfigError, InputError
from model_store.rerank_prompt import LABEL_ANSWERS, LABELS, RATING_ANSWERS
from offline.instruction.label_model import LabelHead, LabelModel, open_label_model
from offline.instruction.prompt_encoder import PromptEncoder
from tests.offline.instruction.tiny_models import (
    FAMILIES,
    LAYOUT,
    make_llama,
    make_tokenizer,
    save_family,
)

TITLES = ["toy story", "alien", "heat", "a much longer title", "war", "romance"]


@pytest.fixture(scope="module", params=sorted(FAMILIES))
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> LabelModel:
    folder = save_family(request.param, tmp_path_factory.mktemp(request.param))
    return open_label_model(str(folder), folder, device="cpu")


def whole_vocabulary(model: LabelModel, prompt: str) -> torch.Tensor:
    """Logits behind a prompt by the model as transformers runs it alone, without a label head."""
    tokens = model.encoder.tokenizer(prompt, return_tensors="pt")["input_ids"]
    with torch.inference_mode():
        return model.model(tokens).logits[0, -1]


def test_scores_are_the_labels_shares_of_the_next_token(model: LabelModel) -> None:
    prompts = [
        LAYOUT.listwise(TITLES[:2], TITLES[2:6], [2, 0, 3, 1], TITLES[3:4]),
        LAYOUT.listwise(TITLES[:1], TITLES[1:3], [1, 0]),
        LAYOUT.listwise(TITLES[1:4], TITLES[4:6] + TITLES[:1], [0, 1, 2]),
    ]
    counts = [4, 2, 3]
    for prompt, n, scores in zip(prompts, counts, model.scores(prompts, counts), strict=True):
        ids = [model.encoder.tokenizer(prompt + f" {x}")["input_ids"][-1] for x in LABELS[:n]]
        expected = whole_vocabulary(model, prompt)[ids].log_softmax(-1).numpy()
        assert scores.dtype == np.float32
        np.testing.assert_allclose(scores, expected, atol=1e-4)


def test_ratings_of_one_pass_equal_those_of_a_prompt_each(model: LabelModel) -> None:
    beginning, ends = LAYOUT.pointwise(TITLES[:3], TITLES[2:6], TITLES[3:5])
    (expected,) = model.ratings([beginning], [ends])
    for end, rating in zip(ends, expected, strict=True):
        shares = whole_vocabulary(model, beginning + end)[list(model.encoder.rating_tokens)]
        alone = (shares.softmax(-1) * torch.arange(1.0, 6.0)).sum()
        assert rating == pytest.approx(float(alone), abs=1e-4)
    assert len(set(expected.tolist())) == len(ends)
    assert ((expected >= 1) & (expected <= 5)).all()


def test_a_gemma_begins_with_its_token_and_a_llama_of_smollm2s_kind_with_none() -> None:
    assert PromptEncoder("gemma", FAMILIES["gemma"][1]()).begins_with == (1,)
    assert PromptEncoder("llama", FAMILIES["llama"][1]()).begins_with == ()


def test_answers_are_single_tokens_behind_the_prompt(model: LabelModel) -> None:
    encoder = model.encoder
    decoded = [encoder.tokenizer.decode([token]) for token in encoder.answer_tokens]
    assert decoded == [*LABEL_ANSWERS, *RATING_ANSWERS]


def test_a_tokenizer_that_splits_labels_is_one_clear_line() -> None:
    with pytest.raises(ConfigError) as caught:
        LabelModel("my-model", make_llama(), make_tokenizer(blanks_apart=True))
    assert "'my-model'" in str(caught.value)
    assert "' A'" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_head_is_whole_again_after_scoring(model: LabelModel) -> None:
    model.scores([LAYOUT.listwise(TITLES[:1], TITLES[1:3], [1, 0])], [2])
    assert not any(isinstance(module, LabelHead) for module in model.model.modules())


def test_no_prompts_have_no_scores(model: LabelModel) -> None:
    assert model.scores([], []) == []
    assert model.ratings([], []) == []


def test_a_prompt_beyond_the_models_length_is_reported_with_both_lengths(model: LabelModel) -> None:
    prompt = "x " * model.max_tokens + LAYOUT.listwise(TITLES[:1], TITLES[1:3], [1, 0])
    with pytest.raises(InputError, match=str(model.max_tokens)):
        model.scores([prompt], [2])


def test_a_model_that_isnt_there_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"missing\.gguf"):
        open_label_model(str(tmp_path / "missing.gguf"), tmp_path)
