"""A Llama of a few words, whose texts can all be listed."""

from __future__ import annotations

import itertools

import numpy as np
import peft
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from offline.alignment.experience import Experience, SampledText
from offline.alignment.policy import Policy

END, N_TOKENS, LENGTH = 0, 3, 2
PROMPT = [1, 2, 1]


class ToyPrompts:
    """The same prompt for every item; stands in for ItemPrompts."""

    def tokens(self, item: int) -> list[int]:  # noqa: ARG002
        return PROMPT


def make_policy(*, lora: bool = False, seed: int = 0) -> Policy:
    """In float64, so that differences of log p can be taken."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=N_TOKENS,
        hidden_size=8,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=32,
        bos_token_id=None,
        eos_token_id=END,
        pad_token_id=END,
        initializer_range=0.3,
    )
    model = LlamaForCausalLM(config).double()
    if not lora:
        return Policy(model, None, [END])
    shape = peft.LoraConfig(r=2, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    adapted = peft.get_peft_model(model, shape)
    return Policy(adapted.get_base_model().double(), adapted, [END])


def all_answers() -> list[np.ndarray]:
    """All answers of at most LENGTH tokens: they end with END, or are of full length."""
    words = [token for token in range(N_TOKENS) if token != END]
    answers = []
    for length in range(LENGTH):
        answers += [[*begun, END] for begun in itertools.product(words, repeat=length)]
    answers += [[*full] for full in itertools.product(words, repeat=LENGTH)]
    return [np.array(answer, dtype=np.int32) for answer in answers]


def texts_of(policy: Policy, answers: list[np.ndarray], item: int = 1) -> list[SampledText]:
    """As the policy would sample them now."""
    prompts = [PROMPT] * len(answers)
    with torch.no_grad():
        now = policy.log_p(prompts, answers)
    with policy.original():
        original = policy.log_p(prompts, answers)
    return [
        SampledText(item, str(answer), answer, log_p.numpy(), before.numpy())
        for answer, log_p, before in zip(answers, now, original, strict=True)
    ]


def experience(
    text: SampledText, log_with: float, log_without: float, group: int = 0
) -> Experience:
    history = np.array([text.item], dtype=np.int32)
    return Experience(history, 2, (text,), log_with, log_without, group, 0)
