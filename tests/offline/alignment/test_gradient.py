"""The estimator's mean over all texts is the exact gradient, found by finite differences."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from offline.alignment.config import AlignmentConfig
from offline.alignment.estimator import weigh
from offline.alignment.experience import SampledText
from offline.alignment.policy import Policy
from offline.alignment.policy_update import PolicyUpdate
from tests.offline.alignment.toy import (
    PROMPT,
    ToyPrompts,
    all_answers,
    experience,
    make_policy,
    texts_of,
)

ANSWERS = all_answers()
PAPER = {"baseline": "none", "kl_coefficient": 0.0, "importance_correction": False}


@pytest.fixture(scope="module")
def likelihoods() -> np.ndarray:
    """p(y|x, s) of each answer."""
    return np.random.default_rng(5).uniform(0.02, 0.9, len(ANSWERS))


@pytest.fixture
def policy() -> Policy:
    """An LLM some way off the original, from which its own KL divergence is above 0."""
    policy = make_policy()
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in policy.weights.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return policy


def log_p(policy: Policy) -> torch.Tensor:
    rows = policy.log_p([PROMPT] * len(ANSWERS), ANSWERS)
    return torch.stack([row.sum() for row in rows])


def gradient_of(policy: Policy) -> torch.Tensor:
    """That of the objective; updates descend, so the sign is turned."""
    return -torch.cat([p.grad.flatten() for p in policy.weights.parameters()])


def slopes(policy: Policy, objective: Callable[[], float], directions: torch.Tensor) -> np.ndarray:
    """Central differences of the objective along directions in the space of the weights."""
    weights = torch.nn.utils.parameters_to_vector(policy.weights.parameters()).detach()
    found, step = [], 1e-3
    for direction in directions:
        at = []
        for sign in (1, -1):
            moved = weights + sign * step * direction
            torch.nn.utils.vector_to_parameters(moved, policy.weights.parameters())
            at.append(objective())
        found.append((at[0] - at[1]) / (2 * step))
    torch.nn.utils.vector_to_parameters(weights, policy.weights.parameters())
    return np.array(found)


def assert_close(gradient: torch.Tensor, expected: np.ndarray) -> None:
    """Up to the rounding of a Llama's norms, which are computed in float32."""
    np.testing.assert_allclose(gradient, expected, rtol=1e-3, atol=1e-3)


def directions(policy: Policy) -> torch.Tensor:
    torch.manual_seed(2)
    return torch.randn(4, policy.weights.n_parameters, dtype=torch.float64)


def mean_gradient(
    policy: Policy,
    draws: list[tuple[float, list[SampledText], list[float]]],
    log_without: float,
    *,
    stale: bool = False,
    **choices: object,
) -> torch.Tensor:
    """The mean over draws (probability, texts, p(y|x, s) of each) of the estimator's gradient."""
    config = AlignmentConfig.model_validate(PAPER | {"texts_per_example": 2} | choices)
    update = PolicyUpdate(policy, ToyPrompts(), config)
    total = torch.zeros(policy.weights.n_parameters, dtype=torch.float64)
    for probability, texts, p_with in draws:
        batch = [
            experience(text, float(np.log(p)), log_without)
            for text, p in zip(texts, p_with, strict=True)
        ]
        update.optimizer.zero_grad()
        update.accumulate(weigh(batch, config), stale=stale)
        total += probability * gradient_of(policy)
    return total


def log_marginal(policy: Policy, likelihoods: np.ndarray) -> float:
    with torch.no_grad():
        return torch.logsumexp(log_p(policy) + torch.from_numpy(np.log(likelihoods)), 0).item()


def test_the_listed_answers_are_all_there_are(policy: Policy) -> None:
    assert log_p(policy).exp().sum().item() == pytest.approx(1.0, abs=1e-12)


def test_the_paper_form_is_the_gradient_of_log_p(policy: Policy, likelihoods: np.ndarray) -> None:
    texts, p = texts_of(policy, ANSWERS), log_p(policy).exp().tolist()
    draws = [(p[i], [texts[i]], [likelihoods[i]]) for i in range(len(texts))]
    gradient = mean_gradient(policy, draws, log_marginal(policy, likelihoods))
    along = directions(policy)
    expected = slopes(policy, lambda: log_marginal(policy, likelihoods), along)
    assert_close(along @ gradient, expected)
    assert np.abs(expected).max() > 0.1


def test_a_group_baseline_leaves_the_mean(policy: Policy, likelihoods: np.ndarray) -> None:
    texts, p = texts_of(policy, ANSWERS), log_p(policy).exp().tolist()
    draws = [
        ((2 - (i == j)) * p[i] * p[j], [texts[i], again(texts[j])], likelihoods[[i, j]].tolist())
        for i in range(len(texts))
        for j in range(i + 1)
    ]
    marginal = log_marginal(policy, likelihoods)
    gradient = mean_gradient(policy, draws, marginal, baseline="group")
    along = directions(policy)
    expected = slopes(policy, lambda: log_marginal(policy, likelihoods), along)
    assert_close(along @ gradient, expected)


def test_importance_ratios_mend_what_old_weights_sampled(
    policy: Policy, likelihoods: np.ndarray
) -> None:
    with policy.original():
        old = log_p(policy).exp().tolist()
        sampled = [row.numpy() for row in policy.log_p([PROMPT] * len(ANSWERS), ANSWERS)]
    texts = [
        SampledText(1, "", answer, log_sampled, log_sampled)
        for answer, log_sampled in zip(ANSWERS, sampled, strict=True)
    ]
    draws = [(old[i], [texts[i]], [likelihoods[i]]) for i in range(len(texts))]
    choices = {"importance_correction": True, "importance_clip": 1e9}
    marginal = log_marginal(policy, likelihoods)
    gradient = mean_gradient(policy, draws, marginal, stale=True, **choices)
    along = directions(policy)
    expected = slopes(policy, lambda: log_marginal(policy, likelihoods), along)
    assert_close(along @ gradient, expected)
    biased = mean_gradient(policy, draws, marginal, stale=False, **choices)
    assert np.abs((along @ biased).numpy() - expected).max() > 1e-2


def test_the_penalty_is_the_gradient_of_the_kl_term(policy: Policy) -> None:
    texts, p = texts_of(policy, ANSWERS), log_p(policy).exp().tolist()
    draws = [(p[i], [texts[i]], [1e-300]) for i in range(len(texts))]
    gradient = mean_gradient(policy, draws, 0.0, kl_coefficient=1.0)
    with policy.original():
        original = log_p(policy)

    def equation_7() -> float:
        with torch.no_grad():
            now = log_p(policy)
        return (now.exp() * (original - now)).sum().item()

    along = directions(policy)
    expected = slopes(policy, equation_7, along)
    assert equation_7() < -1e-3
    assert_close(along @ gradient, expected)


def test_texts_that_were_read_together_share_one_weight(policy: Policy) -> None:
    config = AlignmentConfig.model_validate(PAPER | {"texts_per_example": 2})
    update = PolicyUpdate(policy, ToyPrompts(), config)
    first, second = texts_of(policy, ANSWERS[3:5])
    both = replace(experience(first, np.log(0.5), np.log(0.25)), texts=(first, second))
    update.accumulate(weigh([both], config), stale=False)
    together = gradient_of(policy)
    policy.weights.zero_grad()
    rows = policy.log_p([PROMPT] * 2, [first.tokens, second.tokens])
    (2.0 * (rows[0].sum() + rows[1].sum())).backward()
    torch.testing.assert_close(together, -gradient_of(policy))


def again(text: SampledText) -> SampledText:
    """An equal text that is another draw."""
    return replace(text)


def test_old_texts_that_were_read_together_share_one_ratio(policy: Policy) -> None:
    choices = {"importance_correction": True, "importance_clip": 1e9, "texts_per_example": 2}
    config = AlignmentConfig.model_validate(PAPER | choices)
    update = PolicyUpdate(policy, ToyPrompts(), config)
    with policy.original():
        old = [row.numpy() for row in policy.log_p([PROMPT] * 2, ANSWERS[3:5])]
    first, second = (
        SampledText(1, "", answer, log_sampled, log_sampled)
        for answer, log_sampled in zip(ANSWERS[3:5], old, strict=True)
    )
    both = replace(experience(first, np.log(0.5), np.log(0.25)), texts=(first, second))
    update.accumulate(weigh([both], config), stale=True)
    now = [row.sum().item() for row in policy.log_p([PROMPT] * 2, ANSWERS[3:5])]
    expected = float(np.exp(sum(now) - sum(float(row.sum()) for row in old)))
    assert [*update.ratios.values()] == pytest.approx([expected] * 2, rel=1e-5)
    assert abs(expected - 1) > 0.01
