"""A causal language model that answers with the logits of a few tokens at a few places.

Its head has the rows of those tokens alone, and its last layer computes nothing but keys and values
for places that no answer is read at.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from model_store.errors import ConfigError


class LabelNetwork(nn.Module):
    """Label logits of prompts that are laid out as `model_store.label_inputs` does."""

    _head: Tensor

    def __init__(self, model: Any, rows: Sequence[int]) -> None:
        """`model` is a Hugging Face causal language model; `rows` are tokens, R of them.

        Raises ConfigError if the model is not built of decoder layers.
        """
        super().__init__()
        self.body = model.get_decoder()
        if not isinstance(getattr(self.body, "layers", None), nn.ModuleList):
            raise ConfigError(f"{type(model).__name__} has no list of decoder layers")
        head = model.get_output_embeddings()
        # A copy of R rows; the whole head isn't part of the graph.
        self.register_buffer("_head", head.weight.detach()[list(rows)].clone())
        self.config = model.config.get_text_config()

    def forward(self, tokens: Tensor, positions: Tensor, mask: Tensor, read_at: Tensor) -> Tensor:
        """Logits float32 [B, M, R]; see `model_store.reranker.LabelGraph` for the arguments."""
        read = self.body(
            input_ids=tokens,
            position_ids=positions,
            attention_mask=self._additive(mask, positions),
            use_cache=False,
            read_at=read_at,
        ).last_hidden_state
        logits: Tensor = nn.functional.linear(read, self._head)
        return logits

    @contextmanager
    def reading(self) -> Iterator[LabelNetwork]:
        """In the context, the body's last layer computes the places of `read_at` alone."""
        last = self.body.layers[-1]
        self.body.layers[-1] = _LastLayer(last)
        try:
            yield self
        finally:
            self.body.layers[-1] = last

    def _additive(self, mask: Tensor, positions: Tensor) -> Tensor | dict[str, Tensor]:
        """The mask as numbers to add, [B, 1, L, L]; one of each kind of layer if there are kinds.

        Layers with a window attend to the newest positions of a branch.
        """
        kinds = getattr(self.config, "layer_types", None)
        window = getattr(self.config, "sliding_window", None)
        near = mask
        if window is not None:
            near = mask & (positions[:, :, None] - positions[:, None, :] < window)
        if kinds is None:
            return _as_numbers(near)
        masks = {"full_attention": mask, "sliding_attention": near}
        if unknown := set(kinds) - masks.keys():
            raise ConfigError(f"layers of kind {min(unknown)!r} have no mask")
        return {kind: _as_numbers(masks[kind]) for kind in sorted(set(kinds))}


def _as_numbers(mask: Tensor) -> Tensor:
    lowest = torch.finfo(torch.float32).min
    return torch.where(mask, 0.0, lowest)[:, None]


class _LastLayer(nn.Module):
    """A decoder layer whose output has the places of `read_at` only."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(
        self,
        hidden_states: Tensor,
        *,
        read_at: Tensor,
        attention_mask: Tensor,
        position_embeddings: tuple[Tensor, Tensor],
        position_ids: Tensor,
        past_key_values: None,  # noqa: ARG002 - the layer gets its own
        **kwargs: Any,
    ) -> Tensor:
        kept = _Keep()
        self.layer(
            hidden_states,
            attention_mask=attention_mask,
            position_embeddings=position_embeddings,
            position_ids=position_ids,
            past_key_values=kept,
            **kwargs,
        )
        cos, sin = position_embeddings
        read: Tensor = self.layer(
            _pick(hidden_states, read_at),
            attention_mask=_pick(attention_mask[:, 0], read_at)[:, None],
            position_embeddings=(_pick(cos, read_at), _pick(sin, read_at)),
            position_ids=position_ids.gather(1, read_at),
            past_key_values=_Given(*kept.states),
            **kwargs,
        )
        return read


def _pick(states: Tensor, read_at: Tensor) -> Tensor:
    """Rows [B, M, D] of `states` [B, L, D]."""
    return states.gather(1, read_at[:, :, None].expand(-1, -1, states.shape[2]))


class _Keep:
    """Stands in for a cache; keeps a layer's keys and values. All else that is computed is unused,
    so that it isn't in the exported graph.
    """

    states: tuple[Tensor, Tensor]

    def update(self, keys: Tensor, values: Tensor, *_: Any) -> tuple[Tensor, Tensor]:
        self.states = keys, values
        return self.states


class _Given:
    """Stands in for a cache; a layer attends to these keys and values in place of its own."""

    def __init__(self, keys: Tensor, values: Tensor) -> None:
        self._states = keys, values

    def update(self, *_: Any) -> tuple[Tensor, Tensor]:
        return self._states
