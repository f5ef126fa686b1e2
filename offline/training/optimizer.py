"""The optimizer of a training: of recommenders, and of text encoders tuned on behaviour."""

from __future__ import annotations

import torch

from offline.training.lazy_adam import LazyAdamW


def new_optimizer(
    module: torch.nn.Module, learning_rate: float, weight_decay: float, *, lazy: bool = False
) -> torch.optim.AdamW:
    """AdamW (Loshchilov and Hutter, 2019) over the parameters that have gradients now.

    Weight decay applies to matrices only, not to biases and norms. With `lazy` parameters may have
    sparse gradients (`LazyAdamW`).
    """
    trained = [p for p in module.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    kind = LazyAdamW if lazy else torch.optim.AdamW
    return kind(groups, lr=learning_rate, fused=True)
