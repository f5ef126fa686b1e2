from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from model_store.errors import ConfigError
from offline.alignment.config import AlignmentConfig
from offline.alignment.estimator import weigh
from offline.alignment.policy import Policy, open_policy
from offline.alignment.policy_update import PolicyUpdate
from tests.offline.alignment.toy import (
    END,
    LENGTH,
    PROMPT,
    ToyPrompts,
    all_answers,
    experience,
    make_policy,
    texts_of,
)

HELPFUL = 2


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"alignment\.device = 'cuda'"):
        open_policy("nothing", AlignmentConfig(device="cuda"), tmp_path)


def log_p(policy: Policy) -> np.ndarray:
    answers = all_answers()
    with torch.no_grad():
        rows = policy.log_p([PROMPT] * len(answers), answers)
    return np.array([row.sum().item() for row in rows])


def test_samples_come_with_their_log_p_and_in_their_shares() -> None:
    policy = make_policy()
    written = policy.sample([PROMPT] * 2000, LENGTH, torch.Generator().manual_seed(3))
    rows = policy.log_p([PROMPT] * 20, [each.tokens for each in written[:20]])
    for each, row in zip(written[:20], rows, strict=True):
        np.testing.assert_allclose(each.log_p, row.detach().numpy(), atol=1e-5)
        assert END not in each.tokens[:-1]
    answers = [answer.tolist() for answer in all_answers()]
    counts = np.zeros(len(answers))
    for each in written:
        counts[answers.index(each.tokens.tolist())] += 1
    p = np.exp(log_p(policy))
    np.testing.assert_allclose(counts / 2000, p, atol=4 * np.sqrt(0.25 / 2000))


def test_prompts_of_other_lengths_in_the_batch_change_nothing() -> None:
    policy, answers = make_policy(), all_answers()[:4]
    prompts = [[1], [1, 2, 2, 1, 2], [1], [2, 1]]
    together = policy.log_p(prompts, answers)
    for prompt, answer, row in zip(prompts, answers, together, strict=True):
        alone = policy.log_p([prompt], [answer])[0]
        torch.testing.assert_close(row, alone, rtol=0, atol=1e-5)


@pytest.mark.parametrize("lora", [False, True])
def test_the_original_stays_as_it_was(lora: bool) -> None:
    policy = make_policy(lora=lora)
    with policy.original():
        before = log_p(policy)
    with torch.no_grad():
        for parameter in policy.weights.parameters():
            parameter.add_(0.2)
    with policy.original():
        np.testing.assert_allclose(log_p(policy), before, atol=1e-12)
    assert np.abs(log_p(policy) - before).max() > 0.01


@cache
def aligned(*, kl_coefficient: float, baseline: str = "group") -> tuple[float, float, float]:
    """Share of texts with the helpful token before and after, and KL divergence after."""
    choices = {"kl_coefficient": kl_coefficient, "baseline": baseline, "learning_rate": 0.05}
    config = AlignmentConfig.model_validate(choices | {"texts_per_example": 8})
    policy = make_policy()
    update = PolicyUpdate(policy, ToyPrompts(), config)
    generator = torch.Generator().manual_seed(0)
    before = log_p(policy)
    for _ in range(20):
        written = policy.sample([PROMPT] * 8, LENGTH, generator)
        texts = texts_of(policy, [each.tokens for each in written])
        batch = [
            experience(text, np.log(0.4 if HELPFUL in text.tokens else 0.1), np.log(0.2))
            for text in texts
        ]
        update.step(weigh(batch, config), stale=False)
    after = log_p(policy)
    helps = np.array([HELPFUL in answer for answer in all_answers()])
    p = np.exp(after)
    kl = float((p * (after - before)).sum())
    return float(np.exp(before)[helps].sum()), float(p[helps].sum()), kl


def test_the_llm_learns_to_write_what_helps_the_recommender() -> None:
    """Equation 10: a token that raises p(y|x, s) above its expectation becomes likelier."""
    before, after, _ = aligned(kl_coefficient=0.0)
    assert before < 0.65
    assert after > 0.95


def test_it_learns_so_by_the_paper_form_too() -> None:
    before, after, _ = aligned(kl_coefficient=0.0, baseline="none")
    assert after > before + 0.2


def test_the_kl_term_keeps_it_near_the_original() -> None:
    before, free, kl_free = aligned(kl_coefficient=0.0)
    _, held, kl_held = aligned(kl_coefficient=10.0)
    assert kl_held < 0.1 * kl_free
    assert held - before < 0.3 * (free - before)
