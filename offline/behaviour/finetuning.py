"""FT1 and FT2: a history's vector approaches the next item's, and leaves all others'.

The items' vectors are frozen while an epoch runs (Rethinking PLM 3.1). FT1 encodes all items again
after each epoch; FT2 keeps those of FT1's best epoch and tunes the histories' side on.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from offline.behaviour.config import TuningConfig
from offline.behaviour.history_encoder import HistoryEncoder
from offline.behaviour.samples import Samples, draw_samples, histories_of, newest
from offline.data.histories import Histories
from offline.data.split import Split
from offline.metrics import Scores, ndcg_at_k, rank_cases
from offline.training.batches import Rows, batches_by_length
from offline.training.group import current


class NextItem:
    """The task of FT1, or with `item_vectors` of FT2.

    Args:
        encoder: histories to vectors.
        split: its training part is learnt from, its validation part chooses the epoch.
        config: settings.
        item_vectors: float32 [N+1, K], kept throughout; None: encoded again after each epoch.
    """

    def __init__(
        self,
        encoder: HistoryEncoder,
        split: Split,
        config: TuningConfig,
        item_vectors: Tensor | None = None,
    ) -> None:
        self.module = encoder
        self.item_vectors = item_vectors
        self._split, self._config, self._fixed = split, config, item_vectors is not None
        self._samples: Samples | None = None
        counts = np.bincount(split.train_items, minlength=len(encoder.texts) + 1)
        # An item without training interactions is no negative; column 0 is padding.
        self._never_chosen = torch.from_numpy(counts == 0).to(encoder.device)

    def begin(self, phase: str) -> None:
        """The encoder's configuration says which layers have gradients, from the beginning."""

    def batches(self, rng: np.random.Generator) -> Sequence[Rows]:
        """Rows of the epoch's samples, in batches of similar length."""
        if self.item_vectors is None:  # an epoch that follows a resumed one
            self.item_vectors = self.module.encode_items()
        config = self._config
        self._samples = draw_samples(
            self._split, config.history_items, config.samples_per_user, rng
        )
        lengths = self.module.texts.lengths(self._samples.histories)
        return list(batches_by_length(lengths, config.batch_size, rng))

    def loss(self, batch: Rows, rng: np.random.Generator) -> Tensor:  # noqa: ARG002
        """Cross-entropy over all items but the history's own, mean over the targets.

        A group's processes encode a part of the histories each, and count their share of the loss.
        """
        if self._samples is None or self.item_vectors is None:
            raise RuntimeError("batches() comes before loss()")
        histories = self._samples.histories[batch]
        positions, targets = self._samples.targets_of(batch)
        group = current()
        if group.size == 1:
            users = self.module(histories)
        else:
            users = group.gather(lambda rows: self.module(histories[rows]), len(histories))
        logits = users @ self.item_vectors.T / self._config.temperature
        is_out = self._never_chosen.repeat(len(batch), 1)
        is_out.scatter_(1, torch.from_numpy(histories).long().to(logits.device), True)
        log_shares = logits.masked_fill(is_out, -torch.inf).log_softmax(dim=1)
        of_targets = log_shares[torch.from_numpy(positions), torch.from_numpy(targets).long()]
        loss: Tensor = -of_targets.mean() / group.size
        return loss

    def validate(self) -> float | None:
        """NDCG@10 over the validation cases, the whole catalogue ranked; None without cases."""
        if not self._fixed:
            self.item_vectors = self.module.encode_items()
        items = self.item_vectors
        if items is None:
            raise RuntimeError("there are no item vectors")
        cases, n_kept = self._split.validation, self._config.history_items
        if not len(cases):
            return None
        histories = histories_of(cases, n_kept)
        distinct = np.unique(histories, axis=0)
        if n_kept == 1 and not self._fixed:  # a history of one item is that item's text
            vectors = items[torch.from_numpy(distinct[:, 0]).long()]
        else:
            vectors = self.module.encode(distinct, "encoding histories")
        row_of = {tuple(history): number for number, history in enumerate(distinct.tolist())}

        def score(batch: Histories) -> Scores:
            keys = [tuple(newest(history, n_kept).tolist()) for history in batch]
            users = vectors[[row_of[key] for key in keys]]
            scores: Scores = (users @ items.T).float().cpu().numpy()
            return scores

        return ndcg_at_k(rank_cases(score, cases, k=0).ranks)
