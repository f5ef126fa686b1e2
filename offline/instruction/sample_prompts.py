"""Prompts of a data set's own users and items, to measure with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from model_store.attributes import ItemAttributes
from model_store.errors import InputError
from model_store.rerank_prompt import PromptLayout, presentation_order
from offline.data.dataset import Dataset
from offline.item_text import TITLE


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

    Candidates are other users' interactions, so that popular items are more frequent among them;
    the similar user is a random one.

    Raises:
        InputError: the data set has no titles, or no user with so long a history.
    """
    if TITLE not in dataset.attributes.names:
        raise InputError("the data set has no titles to write prompts with")
    interactions, generator = dataset.interactions, np.random.default_rng(seed)
    lengths = np.diff(interactions.offsets)
    users = np.flatnonzero(lengths >= max(layout.n_history, layout.n_similar))
    if not len(users):
        raise InputError(f"no user of the data set has {layout.n_history} interactions")
    prompts = []
    for user in generator.permutation(np.resize(users, n_prompts)):
        history = [int(item) for item in interactions.history(int(user))[-layout.n_history :]]
        candidates: list[int] = []
        while len(candidates) < layout.n_candidates:
            item = int(generator.choice(interactions.items))
            if item not in history and item not in candidates:
                candidates.append(item)
        similar = interactions.history(int(generator.choice(users)))
        prompts.append(_write(dataset.attributes, layout, history, candidates, similar.tolist()))
    return prompts


def _write(
    attributes: ItemAttributes,
    layout: PromptLayout,
    history: Sequence[int],
    candidates: Sequence[int],
    similar: Sequence[int],
) -> SamplePrompt:
    past, choice, other = (
        [str(attributes.row(item, [TITLE])[TITLE]) for item in items]
        for items in (history, candidates, similar[-max(1, layout.n_similar) :])
    )
    shown = presentation_order(history, candidates)
    return SamplePrompt(layout.listwise(past, choice, shown, other), past, choice, shown)
