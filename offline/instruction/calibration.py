"""The inputs of a language model's linear layers, observed so that 8 bits are well used."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

# Some tokens of Llama-like models, the first one mostly, have a thousand times the usual numbers.
# Both numbers were chosen by the rank agreement of a tuned SmolLM2; see docs/log/reranking.md.
_UNEVEN = 2.0
_TO_WEIGHTS = 0.6  # α
_SMALLEST = 1e-5


@dataclass
class ObservedInput:
    """The input of one layer, or of several that read the same one.

    Attributes:
        readers: the layers.
        channels: largest absolute values over all tokens, float32 [in].
        tokens: largest absolute values over the channels, float32 [number of tokens] of each call.
    """

    readers: list[nn.Linear]
    channels: Tensor
    tokens: list[Tensor] = field(default_factory=list)

    def add(self, states: Tensor) -> None:
        """Observe an input [..., in]."""
        values = states.detach().abs().flatten(0, -2)
        self.channels = torch.maximum(self.channels, values.amax(0))
        self.tokens.append(values.amax(1))

    @property
    def balance(self) -> Tensor:
        """Factors float32 [in] by which the input is to be divided and the weights multiplied.

        They take the larger part of the difference between channels from the input, which has one
        scale, into the weights, which have one a column (SmoothQuant, equation 4).
        """
        weights = torch.stack([layer.weight.detach().abs().amax(0) for layer in self.readers])
        inputs, weights = self.channels.clamp(min=_SMALLEST), weights.amax(0).clamp(min=_SMALLEST)
        return inputs**_TO_WEIGHTS / weights ** (1 - _TO_WEIGHTS)

    @property
    def differs_by_token(self) -> bool:
        """Whether one scale for all tokens would leave few steps for most of them."""
        peaks = torch.cat(self.tokens)
        return bool(peaks.max() > _UNEVEN * peaks.median())


@contextmanager
def observe_inputs(model: nn.Module) -> Iterator[dict[nn.Linear, ObservedInput]]:
    """In the context, inputs of the linear layers within `model` are observed; filled as it runs.

    Layers that are called one after another with one tensor share what is observed.
    """
    observed: dict[nn.Linear, ObservedInput] = {}
    latest: tuple[Tensor, ObservedInput] | None = None

    def observe(layer: nn.Linear, args: tuple[Any, ...]) -> None:
        nonlocal latest
        states = args[0]
        if latest is not None and states is latest[0]:
            if layer not in observed:
                observed[layer] = latest[1]
                latest[1].readers.append(layer)
            return
        if layer not in observed:
            observed[layer] = ObservedInput([layer], torch.zeros(layer.in_features))
        observed[layer].add(states)
        latest = states, observed[layer]

    hooks = [
        layer.register_forward_pre_hook(observe)
        for layer in model.modules()
        if isinstance(layer, nn.Linear)
    ]
    try:
        yield observed
    finally:
        for hook in hooks:
            hook.remove()
