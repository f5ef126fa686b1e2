"""The baselines on the research data, where the folder that LONGTAIL_DATA names is there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from offline.data.dataset import read_dataset
from offline.data.split import leave_one_out
from offline.metrics import hit_rate_at_k, ndcg_at_k, rank_cases
from offline.recommender.baselines import Markov, Popularity
from offline.recommender.recommender import TrainingData

pytestmark = [
    pytest.mark.shared_data,
    pytest.mark.skipif("LONGTAIL_DATA" not in os.environ, reason="LONGTAIL_DATA is not set"),
]


@pytest.mark.parametrize(
    ("name", "popularity", "markov"),
    [
        ("ml-1m", (0.0394, 0.0194), (0.1917, 0.1121)),
        ("amazon-beauty", (0.0110, 0.0053), (0.0665, 0.0438)),
    ],
)
def test_baselines(name, popularity, markov):
    interactions = read_dataset(Path(os.environ["LONGTAIL_DATA"]) / name).interactions
    split = leave_one_out(interactions)
    training = TrainingData.of_split(split, interactions.n_items)
    for model, wanted in ((Popularity(), popularity), (Markov(), markov)):
        ranks = rank_cases(model.fit(training).score, split.test).ranks
        assert (hit_rate_at_k(ranks), ndcg_at_k(ranks)) == pytest.approx(wanted, abs=5e-5)
