"""The update of θ_l: weighted gradients of log p(s|x), and the KL penalty (equation 8)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from offline.alignment.config import AlignmentConfig
from offline.alignment.estimator import Draw, importance_ratio, kl_to_go
from offline.alignment.experience import Float32, SampledText
from offline.alignment.item_prompts import ItemPrompts
from offline.alignment.policy import Policy


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
        others = self._log_ratios_of_others(draws) if corrects else {}
        weight_of = {id(text): draw.weight for draw in draws for text in draw.texts}
        kl, n_tokens = 0.0, 0
        for batch in self._batches([text for draw in draws for text in draw.texts]):
            log_ps = self._log_p(batch)
            loss = log_ps[0].new_zeros(())
            for text, log_p in zip(batch, log_ps, strict=True):
                now = log_p.detach().cpu().numpy()
                ratio = self._ratio(text, now, others.get(id(text), 0.0)) if corrects else 1.0
                self.ratios[id(text)] = ratio
                penalty = self._config.kl_coefficient * kl_to_go(text.log_original, now)
                weights = torch.from_numpy(ratio * (weight_of[id(text)] + penalty))
                loss = loss - (log_p * weights.to(log_p)).sum()
                kl += float((now - text.log_original).sum())
                n_tokens += len(now)
            (loss / len(draws)).backward()  # type: ignore[no-untyped-call]
        return {
            "llm/kl_per_token": kl / n_tokens,
            "llm/importance_ratio": float(np.mean([*self.ratios.values()])),
        }

    def _ratio(self, text: SampledText, log_now: Float32, of_others: float) -> float:
        """p_now(s) / p_sampled(s), clipped, of the whole s that a text belongs to."""
        log_sampled = float(text.log_sampled.sum())
        return importance_ratio(
            float(log_now.sum()) + of_others, log_sampled, self._config.importance_clip
        )

    @torch.no_grad()
    def _log_ratios_of_others(self, draws: Sequence[Draw]) -> dict[int, float]:
        """log p_now/p_sampled of the texts that were read with each text, by its id()."""
        together = [draw for draw in draws if len(draw.texts) > 1]
        own: dict[int, float] = {}
        for batch in self._batches([text for draw in together for text in draw.texts]):
            for text, log_p in zip(batch, self._log_p(batch), strict=True):
                own[id(text)] = float(log_p.sum()) - float(text.log_sampled.sum())
        return {
            id(text): sum(own[id(other)] for other in draw.texts) - own[id(text)]
            for draw in together
            for text in draw.texts
        }

    def _log_p(self, texts: Sequence[SampledText]) -> list[Tensor]:
        prompts = [self._prompts.tokens(text.item) for text in texts]
        return self._policy.log_p(prompts, [text.tokens for text in texts])

    def _batches(self, texts: Sequence[SampledText]) -> Iterator[list[SampledText]]:
        """Texts of one item and of nearly one length together, up to the limit of tokens."""
        longest: dict[int, int] = {}
        for text in texts:
            longest[text.item] = max(len(text.tokens), longest.get(text.item, 0))
        batch: list[SampledText] = []
        n_tokens = 0
        for text in sorted(texts, key=lambda t: (-longest[t.item], t.item, -len(t.tokens))):
            n_prompt = len(self._prompts.tokens(text.item))
            shares_prompt = bool(batch) and batch[-1].item == text.item
            size = len(text.tokens) + (0 if shares_prompt else n_prompt)
            if batch and n_tokens + size > self._config.batch_tokens:
                yield batch
                batch, n_tokens, size = [], 0, len(text.tokens) + n_prompt
            batch.append(text)
            n_tokens += size
        if batch:
            yield batch
