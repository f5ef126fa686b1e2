"""Attention and rotary positions of a language model as single operators of the exported graph."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

_NAME = "onnx_operator"
_ROTATION = apply_rotary_pos_emb.__name__


@contextmanager
def fused_operators(model: Any) -> Iterator[None]:
    """In the context, a Hugging Face `model` computes by ONNX's own operators.

    They are Attention and, where positions are rotated as in Llama, RotaryEmbedding.
    """
    with ExitStack() as stack:
        stack.enter_context(_fused_attention(model))
        stack.enter_context(_fused_rotation(model))
        yield


@contextmanager
def _fused_attention(model: Any) -> Iterator[None]:
    AttentionInterface.register(_NAME, _attend)
    before = model.config._attn_implementation
    model.set_attn_implementation(_NAME)
    try:
        yield
    finally:
        model.set_attn_implementation(before)


@contextmanager
def _fused_rotation(model: Any) -> Iterator[None]:
    # Each family's module has a function of its own, which most have copied from Llama.
    module = sys.modules[type(model).__module__]
    before = getattr(module, _ROTATION, None)
    if before is None or inspect.getsource(before) != inspect.getsource(apply_rotary_pos_emb):
        yield
        return
    setattr(module, _ROTATION, _rotate)
    try:
        yield
    finally:
        setattr(module, _ROTATION, before)


def _attend(
    module: nn.Module,  # noqa: ARG001 - the interface of transformers
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor,
    scaling: float,
    softcap: float | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Attention [B, M, H, head size] of queries [B, H, M, head size].

    Keys and values are [B, key heads, L, head size], the mask [B, 1, M, L] is added.
    """
    attended = torch.onnx.ops.attention(
        query, key, value, attention_mask, scale=scaling, softcap=softcap or 0.0
    )[0]
    return attended.transpose(1, 2), None


def _rotate(query: Tensor, key: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
    """Queries and keys [B, heads, L, head size], rotated; cos and sin are [B, L, head size]."""
    half = cos.shape[-1] // 2  # the second half is the first one again
    rotated = [
        torch.onnx.ops.rotary_embedding(states, cos[..., :half], sin[..., :half])
        for states in (query, key)
    ]
    return rotated[0], rotated[1]
