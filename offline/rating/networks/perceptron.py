"""The hidden layers that several networks share."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn


class Perceptron(nn.Module):
    """Layers of linear maps and ReLU with dropout, then one number.

    Args:
        n_inputs: size of the input.
        hidden: sizes of the hidden layers.
        dropout: after each of them.
    """

    def __init__(self, n_inputs: int, hidden: Sequence[int], dropout: float) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for n_units in hidden:
            layers += [nn.Linear(n_inputs, n_units), nn.ReLU(), nn.Dropout(dropout)]
            n_inputs = n_units
        self.layers = nn.Sequential(*layers, nn.Linear(n_inputs, 1))

    def forward(self, inputs: Tensor) -> Tensor:
        """[B, n_inputs] to [B]."""
        answer: Tensor = self.layers(inputs).squeeze(-1)
        return answer
