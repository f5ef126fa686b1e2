"""The update of θ_l: weighted gradients of log p(s|x), and the KL penalty (equation 8)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from offline.alignment.config import AlignmentConfig
from offline.alignment.estimator import Draw, Float64, importance_ratio, kl_to_go
from offline.alignment.experience import Float32, SampledText
from offline.alignment.item_prompts import ItemPrompts
from offline.alignment.policy import Policy


@dataclass(frozen=True)
class _Weighted:
    """One text, its draw, and log p_now/p_sampled of the texts that were read with it."""

    text: SampledText
    draw: Draw
    log_ratio_of_others: float


class PolicyUpdate:
    """Steps of gradient ascent on the LLM's weights.

    Args:
        policy: the LLM.
        prompts: of the items.
        config: settings.
    """

    def __init__(self, policy: Policy, prompts: ItemPrompts, config: AlignmentConfig) -> None:
        self._policy, self._prompts, self._config = policy, prompts, config
        self.optimizer = torch.optim.AdamW(
            policy.weights.parameters(), lr=config.learning_rate, weight_decay=0.0, fused=True
        )
        self.ratios: dict[int, float] = {}  # of the last step, by the text's id()

    def step(self, draws: Sequence[Draw], *, stale: bool) -> Mapping[str, float]:
        """One step; returns figures to watch.

        Args:
            draws: of this step.
            stale: the texts were sampled with other weights than the LLM's now.
        """
        self.optimizer.zero_grad(set_to_none=True)
        self.ratios = {}
        figures = self.accumulate(draws, stale=stale)
        norm = torch.nn.utils.clip_grad_norm_(
            self._policy.weights.parameters(), self._config.gradient_clip
        )
        self.optimizer.step()
        return {**figures, "llm/gradient_norm": float(norm)}

    def accumulate(self, draws: Sequence[Draw], *, stale: bool) -> Mapping[str, float]:
        """Add the gradient of minus the objective to that of the weights."""
        corrects = stale and self._config.importance_correction
        kl, n_tokens = 0.0, 0
        for batch in self._batches(self._weighted(draws, corrects)):
            log_ps = self._log_p([each.text for each in batch])
            loss = log_ps[0].new_zeros(())
            for each, log_p in zip(batch, log_ps, strict=True):
                now = log_p.detach().cpu().numpy()
                weights = self._weights(each, now, corrects)
                loss = loss - (log_p * torch.from_numpy(weights).to(log_p)).sum()
                kl += float((now - each.text.log_original).sum())
                n_tokens += len(now)
            (loss / len(draws)).backward()  # type: ignore[no-untyped-call]
        return {
            "llm/kl_per_token": kl / n_tokens,
            "llm/importance_ratio": float(np.mean([*self.ratios.values()])),
        }

    def _weights(self, each: _Weighted, log_now: Float32, corrects: bool) -> Float64:
        """Of the gradient of each token's log p, float64 [T]."""
        ratio = 1.0
        if corrects:
            total = float(log_now.sum()) + each.log_ratio_of_others
            sampled = float(each.text.log_sampled.sum())
            ratio = importance_ratio(total, sampled, self._config.importance_clip)
        self.ratios[id(each.text)] = ratio
        penalty = self._config.kl_coefficient * kl_to_go(each.text.log_original, log_now)
        return ratio * (each.draw.weight + penalty)

    def _weighted(self, draws: Sequence[Draw], corrects: bool) -> list[_Weighted]:
        """Texts with their draw; where several were read together, with the others' ratio."""
        log_ratios: dict[int, float] = {}
        together = [text for draw in draws if len(draw.texts) > 1 for text in draw.texts]
        if corrects and together:
            with torch.no_grad():
                for batch in self._batches([_Weighted(text, draws[0], 0.0) for text in together]):
                    for each, log_p in zip(
                        batch, self._log_p([e.text for e in batch]), strict=True
                    ):
                        change = float(log_p.sum()) - float(each.text.log_sampled.sum())
                        log_ratios[id(each.text)] = change
        return [
            _Weighted(
                text,
                draw,
                sum(log_ratios.get(id(o), 0.0) for o in draw.texts if o is not text),
            )
            for draw in draws
            for text in draw.texts
        ]

    def _log_p(self, texts: Sequence[SampledText]) -> list[Tensor]:
        prompts = [self._prompts.tokens(text.item) for text in texts]
        return self._policy.log_p(prompts, [text.tokens for text in texts])

    def _batches(self, texts: Sequence[_Weighted]) -> Iterator[list[_Weighted]]:
        """Texts of one item and of nearly one length together, up to the limit of tokens."""
        longest: dict[int, int] = {}
        for each in texts:
            item, length = each.text.item, len(each.text.tokens)
            longest[item] = max(length, longest.get(item, 0))
        ordered = sorted(
            texts, key=lambda e: (-longest[e.text.item], e.text.item, -len(e.text.tokens))
        )
        batch: list[_Weighted] = []
        n_tokens = 0
        for each in ordered:
            size = len(each.text.tokens)
            if not batch or batch[-1].text.item != each.text.item:
                size += len(self._prompts.tokens(each.text.item))
            if batch and n_tokens + size > self._config.batch_tokens:
                yield batch
                batch, n_tokens = [], 0
                size = len(each.text.tokens) + len(self._prompts.tokens(each.text.item))
            batch.append(each)
            n_tokens += size
        if batch:
            yield batch
