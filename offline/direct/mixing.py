"""Negatives that are mixed of several items over the layers of propagation (MixGCF section 3)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def mix_negatives(
    users: Tensor, positives: Tensor, candidates: Tensor, rng: np.random.Generator
) -> Tensor:
    """A negative for each triple, float32 [B, D].

    Positive mixing: at each layer every candidate becomes α e_i + (1 - α) e_m, with α drawn from
    (0, 1) (equation 6). Hop mixing: of each layer the candidate is taken that the user's vector of
    that layer scores highest (equation 7), and these are pooled as LightGCN pools (equation 5).

    Args:
        users: e_u of each layer, float32 [B, L+1, D].
        positives: e_i of each layer, float32 [B, L+1, D].
        candidates: e_m of each layer, float32 [B, M, L+1, D].
        rng: draws α.
    """
    n_triples, n_candidates, n_layers, _ = candidates.shape
    drawn = rng.random((n_triples, n_candidates, n_layers, 1), dtype=np.float32)
    share = torch.from_numpy(drawn)
    mixed = share * positives[:, None] + (1 - share) * candidates
    with torch.no_grad():
        hardest = (users[:, None] * mixed).sum(dim=3).argmax(dim=1)
    rows, layers = torch.arange(n_triples)[:, None], torch.arange(n_layers)[None, :]
    return mixed[rows, hardest, layers].mean(dim=1)
