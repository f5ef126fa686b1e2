"""LLM and recommender of an alignment, each set back to before it (SeRALM 5.5, figure 5)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from model_store.errors import InputError
from offline.alignment.likelihood import Whitening, set_features
from offline.alignment.recommenders import TunableRecommender
from offline.data.split import Cases
from offline.intervals import uncertainty_of
from offline.metrics import Ranking, gains, ndcg_at_k
from offline.recommender.config import RecommenderConfig, TrainingConfig
from offline.recommender.network import SequenceNetwork
from offline.recommender.recommender import TrainingData, Vectors
from offline.training.checkpoint import load_checkpoint, save_checkpoint

BEFORE, ALIGNED = "before", "aligned"
K = 10

Weights = dict[str, Tensor]


def weights_of(network: SequenceNetwork) -> Weights:
    """A copy of a network's weights, on the CPU."""
    return {name: tensor.detach().cpu().clone() for name, tensor in network.state_dict().items()}


def save_recommenders(before: Weights, aligned: Weights, path: Path) -> None:
    """Write the weights of Rec before alignment and after it (safetensors)."""
    named = {BEFORE: before, ALIGNED: aligned}
    tensors = {f"{when}/{n}": t for when, weights in named.items() for n, t in weights.items()}
    save_checkpoint(path, tensors, {})


def measure_resets(
    recommenders: Path,
    config: RecommenderConfig,
    training: TrainingConfig,
    data: TrainingData,
    aligned: Vectors,
    parts: Mapping[str, Cases],
) -> list[dict[str, Any]]:
    """NDCG@10 of texts and recommender, each from before alignment or from after it.

    Args:
        recommenders: as `save_recommenders` wrote them.
        config, training: of the recommender.
        data: that it was trained with; its vectors are those of the texts before alignment.
        aligned: vectors of the aligned LLM's texts, float32 [N+1, K].
        parts: cases by the name of their part.

    Returns:
        A row for each pair: `llm` and `recommender` ("before" or "aligned"), and, by the name of
        the part, `ndcg_at_10` and its `gain` over the pair from before (mean, `from`, `to`).

    Raises:
        InputError: the file holds no recommenders, or those of another configuration.
    """
    if data.knowledge is None:
        raise TypeError("resets need vectors of the texts before alignment")
    recommender = TunableRecommender(config, training)
    whitening = Whitening.of(data.knowledge, config.member_size)
    network = recommender.new_network(data)
    rows: list[dict[str, Any]] = []
    first: dict[str, Ranking] = {}
    for of_recommender, weights in _load(recommenders).items():
        try:
            network.load_state_dict(weights)
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[0]
            raise InputError(f"{recommenders}: other recommenders ({reason})") from error
        for of_llm, vectors in ((BEFORE, data.knowledge), (ALIGNED, aligned)):
            features = whitening(torch.from_numpy(vectors[1:]))
            set_features(network, torch.arange(1, len(vectors)), features)
            known = replace(data, knowledge=vectors)
            ranked = {
                name: recommender.rank(network, known, cases) for name, cases in parts.items()
            }
            first = first or ranked
            row = {name: _figures(ranking, first[name]) for name, ranking in ranked.items()}
            rows.append({"llm": of_llm, "recommender": of_recommender, **row})
    return rows


def _figures(ranking: Ranking, first: Ranking) -> dict[str, Any]:
    differences = gains(ranking.ranks, K) - gains(first.ranks, K)
    gain, margin = float(differences.mean()), uncertainty_of(differences[None]).margin
    ndcg = ndcg_at_k(ranking.ranks, K)
    return {"ndcg_at_10": ndcg, "gain": gain, "from": gain - margin, "to": gain + margin}


def _load(path: Path) -> dict[str, Weights]:
    found = load_checkpoint(path)
    if found is None:
        raise InputError(f"{path}: holds no recommenders of an alignment")
    weights: dict[str, Weights] = {BEFORE: {}, ALIGNED: {}}
    for name, tensor in found[0].items():
        when, _, own = name.partition("/")
        weights[when][own] = tensor
    return weights
