"""Experiences from the LLM as it is, or from a pool of texts that were sampled once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from model_store.errors import ConfigError
from offline.alignment.config import AlignmentConfig
from offline.alignment.examples import Example, Examples, newest_items
from offline.alignment.experience import Experience, TextPool
from offline.alignment.item_prompts import ItemPrompts
from offline.alignment.judge import Judge, Texts
from offline.alignment.learner import load_snapshot
from offline.alignment.policy import Policy
from offline.alignment.writing import write_texts


class OnlineSampler:
    """A `Sampler` that has the LLM write new texts for every example.

    Attributes:
        snapshot: step of the weights that it samples with.

    Args:
        policy: the LLM.
        prompts: of the items.
        judge: gives rewards.
        examples: D.
        config: settings.
    """

    def __init__(
        self,
        policy: Policy,
        prompts: ItemPrompts,
        judge: Judge,
        examples: Examples,
        config: AlignmentConfig,
    ) -> None:
        self._policy, self._prompts, self._judge = policy, prompts, judge
        self._examples, self._config = examples, config
        self.snapshot = 0

    def draw(self, rng: np.random.Generator) -> list[Experience]:
        """`examples_per_step` examples, `texts_per_example` experiences of each."""
        config = self._config
        numbers = rng.integers(len(self._examples), size=config.examples_per_step)
        examples = [self._examples[int(number)] for number in numbers]
        rows = [
            (group, example)
            for group, example in enumerate(examples)
            for _ in range(config.texts_per_example)
        ]
        concerned = [newest_items(example.history, config.newest_items) for _, example in rows]
        texts = iter(
            write_texts(
                self._policy,
                self._prompts,
                [item for of_row in concerned for item in of_row],
                config,
                _torch_generator(rng, self._policy),
            )
        )
        of_rows = [tuple(next(texts) for _ in of_row) for of_row in concerned]
        return _experiences(self._judge, rows, of_rows, self.snapshot)

    def load(self, snapshot: Path) -> None:
        """See `Sampler.load`."""
        self.snapshot = load_snapshot(snapshot, self._policy, self._judge)


class PoolSampler:
    """Draws items, and rewards all texts of each anew with the recommender as it is.

    Args:
        pool: the texts.
        judge: gives rewards.
        examples: D.
        n_items: N.
        config: settings.

    Raises:
        ConfigError: no item of the pool is the newest of any history.
    """

    def __init__(
        self,
        pool: TextPool,
        judge: Judge,
        examples: Examples,
        n_items: int,
        config: AlignmentConfig,
    ) -> None:
        self._pool, self._judge, self._examples, self._config = pool, judge, examples, config
        counts = examples.count_by_item(n_items)
        self._items = pool.items[counts[pool.items] > 0]
        if not len(self._items):
            raise ConfigError("the pool has texts of no item that a training history ends with")
        shares = counts[self._items].astype(np.float64)
        if config.items_by == "items":
            shares = np.ones(len(self._items))
        self._shares = shares / shares.sum()

    def draw(self, rng: np.random.Generator) -> list[Experience]:
        """All texts of `items_per_step` items, each with up to `examples_per_item` examples."""
        size = min(self._config.items_per_step, len(self._items))
        rows: list[tuple[int, Example]] = []
        of_rows: list[Texts] = []
        for item in rng.choice(self._items, size, replace=False, p=self._shares).tolist():
            examples = self._examples.ending_with(item, self._config.examples_per_item, rng)
            for text in self._pool.texts(item):
                rows += [(item, example) for example in examples]
                of_rows += [(text,)] * len(examples)
        return _experiences(self._judge, rows, of_rows, 0)


def _experiences(
    judge: Judge, rows: list[tuple[int, Example]], texts: list[Texts], snapshot: int
) -> list[Experience]:
    """With rewards; `rows` are groups and examples."""
    log_with, log_without = judge.rewards([example for _, example in rows], texts)
    return [
        Experience(
            example.history,
            example.target,
            of_row,
            float(with_text),
            float(without),
            group,
            snapshot,
        )
        for (group, example), of_row, with_text, without in zip(
            rows, texts, log_with, log_without, strict=True
        )
    ]


def _torch_generator(rng: np.random.Generator, policy: Policy) -> torch.Generator:
    generator = torch.Generator(device=policy.model.device)
    return generator.manual_seed(int(rng.integers(2**62)))
