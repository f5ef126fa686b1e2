"""A BERT of some thousand random weights, created on the spot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from tokenizers.processors import TemplateProcessing
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from tests.offline.tiny_tokenizer import make_word_tokenizer

DIMENSIONS = 24
POSITIONS = 40


def make_tiny_bert(folder: Path, seed: int = 3, layers: int = 2) -> Path:
    return save_bert(
        folder,
        make_word_tokenizer(),
        seed,
        hidden_size=DIMENSIONS,
        intermediate_size=48,
        num_hidden_layers=layers,
        initializer_range=0.5,
    )


def save_bert(folder: Path, tokenizer: Tokenizer, seed: int, **shape: Any) -> Path:
    """A BERT with random weights; it has a mask where the tokenizer knows the word [MASK]."""
    ends = [(token, tokenizer.token_to_id(token)) for token in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", pair=None, special_tokens=ends
    )
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=tokenizer.get_vocab_size(),
        num_attention_heads=4,
        max_position_embeddings=POSITIONS,
        **shape,
    )
    BertModel(config).save_pretrained(folder)
    has_mask = tokenizer.token_to_id("[MASK]") is not None
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="[UNK]",
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_max_length=POSITIONS,
        **({"mask_token": "[MASK]"} if has_mask else {}),
    ).save_pretrained(folder)
    return folder
