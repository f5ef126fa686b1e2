"""A Llama of some thousand random weights, and the GGUF file that llama.cpp would make of it."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM

TOKENS = ["<|endoftext|>", *"abcdefgh", "Ġ", "ab", "cd", "abcd"]
MERGES = ["a b", "c d", "ab cd"]
LAYERS, HEADS, KEY_HEADS, SIZE, HIDDEN, LENGTH = 2, 4, 2, 16, 24, 64


def make_llama() -> LlamaForCausalLM:
    torch.manual_seed(3)
    config = LlamaConfig(
        vocab_size=len(TOKENS),
        hidden_size=SIZE,
        intermediate_size=HIDDEN,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=KEY_HEADS,
        max_position_embeddings=LENGTH,
        tie_word_embeddings=False,
        initializer_range=0.5,
    )
    return LlamaForCausalLM(config).eval()


def write_gguf(model: LlamaForCausalLM, path: Path) -> None:
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_vocab_size(len(TOKENS))
    writer.add_context_length(LENGTH)
    writer.add_embedding_length(SIZE)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(HIDDEN)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KEY_HEADS)
    writer.add_rope_dimension_count(SIZE // HEADS)
    writer.add_layer_norm_rms_eps(model.config.rms_norm_eps)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(TOKENS)
    writer.add_token_types([gguf.TokenType.CONTROL, *[gguf.TokenType.NORMAL] * (len(TOKENS) - 1)])
    writer.add_token_merges(MERGES)
    for add in (writer.add_bos_token_id, writer.add_eos_token_id, writer.add_pad_token_id):
        add(0)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, LAYERS)
    for name, weights in model.state_dict().items():
        stored = names.get_name(name, try_suffixes=(".weight",))
        writer.add_tensor(stored, np.ascontiguousarray(_as_stored(name, weights.numpy())))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _as_stored(name: str, weights: np.ndarray) -> np.ndarray:
    """llama.cpp rotates neighbouring numbers, transformers those half a head apart."""
    heads = {"q_proj.weight": HEADS, "k_proj.weight": KEY_HEADS}.get(".".join(name.split(".")[-2:]))
    if heads is None:
        return weights
    halves = weights.reshape(heads, 2, -1, weights.shape[1])
    return halves.swapaxes(1, 2).reshape(weights.shape)
