"""States of the items below the lowest tuned layer, computed once.

They don't change while the layers above are tuned, so they are kept: of six layers with the upper
two tuned, four are never run again. This takes 4 bytes for each component of each token of the
catalogue.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from offline.behaviour.layers import layers_of

Items = npt.NDArray[np.int32]


class LowerStates:
    """States [T, D] of items below a layer of an encoder, filled as items are encoded."""

    def __init__(self, model: torch.nn.Module, n_layers: int) -> None:
        """`n_layers`, 1 or more, is how many of the lowest layers are frozen."""
        self._stack, self._n_layers = layers_of(model), n_layers
        self._parent, self._name = next(
            (parent, name)
            for parent in model.modules()
            for name, child in parent.named_children()
            if child is self._stack
        )
        self._states: dict[int, Tensor] = {}

    def hold(self, items: Items) -> bool:
        """Whether the states of all these items are stored."""
        return all(item in self._states for item in items.tolist())

    @contextmanager
    def kept(self, items: Items, mask: Tensor) -> Iterator[None]:
        """Store the states of `items` [B] from the forward pass in the context; mask: [B, T]."""

        def keep(_: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            states = args[0] if args else kwargs["hidden_states"]
            for item, row, length in zip(items.tolist(), states, mask.sum(1).tolist(), strict=True):
                self._states[item] = row[:length].detach().clone()

        hook = self._stack[self._n_layers].register_forward_pre_hook(keep, with_kwargs=True)
        try:
            yield
        finally:
            hook.remove()

    def mask_of(self, items: Items) -> Tensor:
        """Attention mask int64 [B, T] of items with stored states."""
        lengths = torch.tensor([len(self._states[item]) for item in items.tolist()])
        return (torch.arange(int(lengths.max())) < lengths[:, None]).long()

    @contextmanager
    def in_place(self, items: Items) -> Iterator[None]:
        """In the context the encoder begins at the first tuned layer, with these states."""
        states = torch.nn.utils.rnn.pad_sequence(
            [self._states[item] for item in items.tolist()], batch_first=True
        )

        def put(_: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            if args:
                return (states, *args[1:]), kwargs
            return args, {**kwargs, "hidden_states": states}

        upper = self._stack[self._n_layers :]
        hook = upper[0].register_forward_pre_hook(put, with_kwargs=True)
        setattr(self._parent, self._name, upper)
        try:
            yield
        finally:
            setattr(self._parent, self._name, self._stack)
            hook.remove()
