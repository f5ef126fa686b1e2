"""Prompts of a data set's own users and items, to measure with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from model_store.rerank_prompt import PromptLayout, item_titles, presentation_order
from offline.data.dataset import Dataset


@dataclass(frozen=True)
class SamplePrompt:
    """A listwise prompt and its parts: titles, the candidates in the recommender's order."""

    text: str
    history: Sequence[str]
    candidates: Sequence[str]
    shown: Sequence[int]


def sample_prompts(
    dataset: Dataset, layout: PromptLayout, n_prompts: int, seed: int = 0
) -> list[SamplePrompt]:
    """Prompts with full histories of different users, as far as there are enough of them.

    Where no user has so long a history, the longest are taken, and where there are too few items,
    there are fewer candidates. These are other users' interactions, so that popular items are more
    frequent among them; the similar user is a random one.
    """
    interactions, generator = dataset.interactions, np.random.default_rng(seed)
    titles = item_titles(dataset.attributes, interactions.item_ids.ids)
    lengths = np.diff(interactions.offsets)
    wanted = max(layout.n_history, layout.n_similar)
    users = np.flatnonzero(lengths >= min(wanted, lengths.max()))
    items = np.unique(interactions.items)
    prompts = []
    for user in generator.permutation(np.resize(users, n_prompts)):
        history = [int(item) for item in interactions.history(int(user))[-layout.n_history :]]
        candidates: list[int] = []
        n_others = len(np.setdiff1d(items, history))
        while len(candidates) < min(layout.n_candidates, n_others):
            item = int(generator.choice(interactions.items))
            if item not in history and item not in candidates:
                candidates.append(item)
        similar = interactions.history(int(generator.choice(users)))
        prompts.append(_write(titles, layout, history, candidates, similar.tolist()))
    return prompts


def _write(
    titles: Sequence[str],
    layout: PromptLayout,
    history: Sequence[int],
    candidates: Sequence[int],
    similar: Sequence[int],
) -> SamplePrompt:
    past, choice, other = (
        [titles[item - 1] for item in items]
        for items in (history, candidates, similar[-max(1, layout.n_similar) :])
    )
    shown = presentation_order(history, candidates)
    return SamplePrompt(layout.listwise(past, choice, shown, other), past, choice, shown)
