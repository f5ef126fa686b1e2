"""The update of θ_r: gradient ascent on log p(y|x, s) (equation 9)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from offline.alignment.config import AlignmentConfig
from offline.alignment.examples import Example
from offline.alignment.experience import Experience
from offline.alignment.judge import Judge


class RecommenderUpdate:
    """Steps on the network, its ids and projection, and the text encoder unless it is frozen.

    Args:
        judge: holds Rec and the encoder.
        config: settings.
    """

    def __init__(self, judge: Judge, config: AlignmentConfig) -> None:
        self._judge = judge
        network = judge.with_text.network.requires_grad_(True)
        self.module = torch.nn.ModuleDict({"network": network})
        groups = [
            {"params": [*network.parameters()], "lr": config.recommender_learning_rate},
        ]
        if not judge.vectors.frozen:
            pooled = judge.vectors.encoder.pooled
            self.module["encoder"] = pooled
            trained = [p for p in pooled.parameters() if p.requires_grad]
            groups.append({"params": trained, "lr": config.encoder_learning_rate})
        self.optimizer = torch.optim.AdamW(groups, weight_decay=0.0, fused=True)
        self._is_off = config.recommender_learning_rate == 0.0

    def step(self, experiences: Sequence[Experience]) -> Mapping[str, float]:
        """One step, with the network's dropout; returns figures to watch."""
        if self._is_off:
            return {}
        network = self._judge.with_text.network.train()
        examples = [Example(each.history, each.target) for each in experiences]
        log_p = self._judge.log_with(examples, [each.texts for each in experiences])
        loss = -log_p.mean()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        network.eval()
        return {"recommender/loss": loss.item()}
