"""Causal language models of some thousand random weights, of two families, with a BPE tokenizer."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from model_store.rerank_prompt import LABELS, RATINGS, PromptLayout

LAYOUT = PromptLayout(n_history=3, n_candidates=4, n_similar=2, max_title_characters=20)
SIZES = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "initializer_range": 0.3,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 0,
}


def make_tokenizer(*, begins: bool = False, blanks_apart: bool = False) -> PreTrainedTokenizerFast:
    """A byte-level BPE; `begins` puts <bos> in front, `blanks_apart` splits blanks from letters."""
    tokenizer = Tokenizer(models.BPE())
    blank = [pre_tokenizers.Split(" ", "isolated")] if blanks_apart else []
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), *blank, pre_tokenizers.ByteLevel(False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<eos>", "<bos>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    prompt = LAYOUT.listwise(["one film", "two"], ["three", "four"], [1, 0])
    pointwise, ends = LAYOUT.pointwise(["one film"], ["three"])
    answers = [f"Answer: {label}" for label in LABELS] + [f"Rating:{r}" for r in RATINGS]
    tokenizer.train_from_iterator([*[prompt, pointwise, *ends] * 3, *answers * 3], trainer)
    if begins:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<bos> $A", special_tokens=[("<bos>", 1)]
        )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<eos>")


def make_llama(**sizes: int) -> Any:
    torch.manual_seed(3)
    config = LlamaConfig(vocab_size=400, tie_word_embeddings=True, **SIZES | sizes)
    return LlamaForCausalLM(config).eval()


def make_gemma(kinds: Sequence[str] = ("sliding_attention", "full_attention")) -> Any:
    """With a layer of each of these kinds."""
    torch.manual_seed(4)
    config = Gemma3TextConfig(
        vocab_size=400,
        head_dim=8,
        query_pre_attn_scalar=8,
        layer_types=list(kinds),
        sliding_window=16,
        **SIZES | {"num_hidden_layers": len(kinds)},
    )
    return Gemma3ForCausalLM(config).eval()


FAMILIES = {
    "llama": (make_llama, make_tokenizer),
    "gemma": (make_gemma, partial(make_tokenizer, begins=True)),
}


def save_family(family: str, folder: Path) -> Path:
    """A folder that transformers opens, with the model and the tokenizer of a family."""
    make_model, make_its_tokenizer = FAMILIES[family]
    make_model().save_pretrained(folder)
    make_its_tokenizer().save_pretrained(folder)
    return folder


def save_small_llama(folder: Path) -> Path:
    """As `save_family`, of a single layer: what is exported is exported in half of the time."""
    make_llama(num_hidden_layers=1).save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    return folder
