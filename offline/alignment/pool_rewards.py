"""Rewards the texts of a pool with a recommender that was trained before alignment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from offline.alignment.config import AlignmentConfig
from offline.alignment.drawn_texts import DrawnTexts
from offline.alignment.examples import Examples
from offline.alignment.experience import SampledText, TextPool
from offline.alignment.likelihood import TextLikelihood, Whitening
from offline.alignment.recommenders import TunableRecommender, fit_with_knowledge
from offline.alignment.text_rewards import choose_best, describe_rewards, measure_rewards
from offline.alignment.text_vectors import TextVectors
from offline.encoding.sentence_encoder import SentenceEncoder
from offline.recommender.config import RecommenderConfig, TrainingConfig
from offline.recommender.recommender import TrainingData

_EXAMPLES = 64  # of an item

Texts = Mapping[int, SampledText]


@dataclass(frozen=True)
class RewardedPool:
    """What a recommender makes of a pool.

    Attributes:
        best: the text of each item that makes its training examples likeliest, by item_index.
        random: one of the K texts of each, drawn.
        figures: of `describe_rewards`, and validation NDCG@10 of the recommender as it is with the
            texts before alignment (`ndcg_before`), the random ones and the best ones.
    """

    best: Texts
    random: Texts
    figures: dict[str, float]


def reward_pool(
    pool: TextPool,
    data: TrainingData,
    recommender: RecommenderConfig,
    training: TrainingConfig,
    encoder: SentenceEncoder,
    config: AlignmentConfig,
    checkpoint: Path,
) -> RewardedPool:
    """Train a recommender, and read each of the pool's texts with it.

    Args:
        pool: the texts.
        data: with the vectors of the texts before alignment.
        recommender, training: of the recommender.
        encoder: that made the vectors.
        config: seed, and the number of examples that a reward is the mean of.
        checkpoint: folder to resume the training from.

    Raises:
        ConfigError: the recommender reads no knowledge.
        InputError: there is nothing to learn from, or the loss diverged.
    """
    if data.knowledge is None:
        raise TypeError("rewards need vectors of the texts before alignment")
    vectors = TextVectors(encoder, frozen=True, batch_size=16)
    whitening = Whitening.of(data.knowledge, recommender.member_size)
    drawn = None
    if config.train_on_pool:
        drawn = DrawnTexts.of(pool, vectors, data.knowledge, whitening)
    fitted = fit_with_knowledge(recommender, training, data, checkpoint, drawn)
    likelihood = TextLikelihood(fitted.network, whitening, data.counts() > 0)
    examples = Examples(data.sequences, recommender.max_length)
    rewards = measure_rewards(pool, likelihood, vectors, examples, _EXAMPLES, config.seed)
    best = choose_best(rewards, pool)
    random = _draw(pool, [r.item for r in rewards], config.seed)
    figures = describe_rewards(rewards, config.examples_per_item)
    figures["ndcg_before"] = fitted.measure(fitted.network, data)
    for name, texts in (("ndcg_random", random), ("ndcg_best", best)):
        figures[name] = _measure(fitted, likelihood, vectors, data, texts)
    return RewardedPool(best, random, figures)


def _draw(pool: TextPool, items: list[int], seed: int) -> dict[int, SampledText]:
    rng = np.random.default_rng(seed)
    return {item: pool.texts(item)[int(rng.integers(len(pool.texts(item))))] for item in items}


def _measure(
    fitted: TunableRecommender,
    likelihood: TextLikelihood,
    vectors: TextVectors,
    data: TrainingData,
    texts: Texts,
) -> float:
    """Validation NDCG@10 of the recommender as it is, with other texts of some items."""
    of_texts = vectors.of([text.text for text in texts.values()])
    likelihood.set_vectors([*texts], of_texts)
    rows = np.array(data.knowledge)
    rows[[*texts]] = of_texts.cpu().numpy()
    return fitted.measure(likelihood.network, replace(data, knowledge=rows))
