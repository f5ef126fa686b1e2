"""What the texts of a pool are worth to a recommender: the signal that alignment has to learn from.

Every text of an item is read with the same examples, those whose history ends with the item. So
log p(y|x, s) varies by the text, by the example, and by what is left: how much better one text
suits one example than another. Alignment can only learn the first; the last is its noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from offline.alignment.examples import Examples
from offline.alignment.experience import SampledText, TextPool
from offline.alignment.likelihood import TextLikelihood
from offline.alignment.text_vectors import TextVectors
from offline.progress import track

Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ItemRewards:
    """log p(y|x, s) of the texts of one item.

    Attributes:
        item: item_index.
        log_p: float64 [E, K], by example and text.
        before: of the text before alignment, float64 [E].
    """

    item: int
    log_p: Float64
    before: Float64

    @property
    def best(self) -> int:
        """Number of the text with the largest mean."""
        return int(self.log_p.mean(axis=0).argmax())


@torch.no_grad()
def measure_rewards(
    pool: TextPool,
    recommender: TextLikelihood,
    vectors: TextVectors,
    examples: Examples,
    at_most: int,
    seed: int,
) -> list[ItemRewards]:
    """Rewards of all texts of a pool.

    Args:
        pool: the texts.
        recommender: Rec; its network is in evaluation mode.
        vectors: encodes the texts.
        examples: D.
        at_most: examples of an item, drawn at random where there are more.
        seed: of the draw.

    Returns:
        One for each item with two examples or more, by item_index.
    """
    rng = np.random.default_rng(seed)
    found = []
    for item in track(pool.items.tolist(), "rewards of texts", unit="items"):
        drawn = examples.ending_with(item, at_most, rng)
        if len(drawn) < 2:
            continue
        histories = [example.history for example in drawn]
        targets = np.array([example.target for example in drawn], dtype=np.int64)
        items = np.full((len(drawn), 1), item, dtype=np.int64)
        none = np.zeros((len(drawn), 1), dtype=np.int64)
        of_texts = vectors.of([text.text for text in pool.texts(item)])
        columns = [
            recommender.log_p(histories, targets, items, vector.expand(len(drawn), 1, -1))
            for vector in of_texts
        ]
        before = recommender.log_p(
            histories, targets, none, torch.zeros_like(of_texts[:1]).expand(len(drawn), 1, -1)
        )
        log_p = torch.stack(columns, dim=1).double().cpu().numpy()
        found.append(ItemRewards(item, log_p, before.double().cpu().numpy()))
    return found


def choose_best(rewards: Sequence[ItemRewards], pool: TextPool) -> dict[int, SampledText]:
    """The text of each item with the largest mean log p(y|x, s)."""
    return {of_item.item: pool.texts(of_item.item)[of_item.best] for of_item in rewards}


def describe_rewards(rewards: Sequence[ItemRewards], examples_per_item: int) -> dict[str, float]:
    """Where the variance of log p(y|x, s) lies, and what choosing the best text would gain.

    Two-way analysis of variance of each item's table [E, K] without replication; means over items,
    weighted by their numbers of examples. Variances of a text's and of an example's effect are
    unbiased estimates, so those of single items may be below 0.

    Args:
        rewards: of the items; with two texts or more each.
        examples_per_item: over which alignment averages a text's reward.

    Returns:
        `share_text`, `share_example`, `share_rest`: of the variance, they add up to 1.
        `reliability`: the share of the text's effect in the variance between the K means over
        `examples_per_item` examples, which is the share of signal in a step's rewards.
        `text_deviation`: standard deviation of a text's effect, in nats.
        `gain_best`: log p with the text that is best on one half of the examples over that of a
        random one of K, on the other half (both ways), in nats.
        `gain_best_same`: the same on the examples by which it was chosen, too good by the choice.
        `gain_random_over_before`: a random one of K over the text before alignment.
    """
    weights = np.array([len(of_item.log_p) for of_item in rewards], dtype=np.float64)
    rows = [_variances(of_item.log_p) | _gains(of_item) for of_item in rewards]
    means = {
        name: float(np.average([row[name] for row in rows], weights=weights)) for name in rows[0]
    }
    text, example, rest = (means.pop(name) for name in ("text", "example", "rest"))
    total = text + example + rest
    noise = rest / examples_per_item
    return {
        "items": float(len(rewards)),
        "examples": float(weights.sum()),
        "share_text": _share(text, total),
        "share_example": _share(example, total),
        "share_rest": _share(rest, total),
        "reliability": _share(max(0.0, text), max(0.0, text) + noise),
        "text_deviation": float(np.sqrt(max(0.0, text))),
        **means,
    }


def _share(part: float, whole: float) -> float:
    """0 where nothing varies, as with texts that are all degenerate."""
    return part / whole if whole else 0.0


def _variances(log_p: Float64) -> dict[str, float]:
    n_examples, n_texts = log_p.shape
    of_texts, of_examples = log_p.mean(axis=0), log_p.mean(axis=1)
    rest = log_p - of_texts - of_examples[:, None] + log_p.mean()
    mean_square = float((rest**2).sum() / ((n_examples - 1) * (n_texts - 1)))
    return {
        "text": float(of_texts.var(ddof=1)) - mean_square / n_examples,
        "example": float(of_examples.var(ddof=1)) - mean_square / n_texts,
        "rest": mean_square,
    }


def _gains(of_item: ItemRewards) -> dict[str, float]:
    log_p = of_item.log_p
    halves = log_p[::2], log_p[1::2]  # examples were drawn in a random order
    held_out = [
        other[:, chosen.mean(axis=0).argmax()].mean() - other.mean()
        for chosen, other in (halves, halves[::-1])
    ]
    return {
        "gain_best": float(np.mean(held_out)),
        "gain_best_same": float(log_p[:, of_item.best].mean() - log_p.mean()),
        "gain_random_over_before": float(log_p.mean() - of_item.before.mean()),
    }
