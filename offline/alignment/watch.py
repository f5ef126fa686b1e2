"""Watches an alignment: figures of each step, and what the LLM writes about some items.

`figures.jsonl` has a line for each step; `events/` holds the same for TensorBoard.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tensorboardX import SummaryWriter

from model_store.errors import ConfigError
from offline.alignment.config import AlignmentConfig
from offline.alignment.models import Models
from offline.knowledge.flaws import WORD, find_flaw
from offline.knowledge.prompt import read_template

N_ITEMS = 16
_FIGURES, _EVENTS = "figures.jsonl", "events"


@dataclass(frozen=True)
class Look:
    """What the LLM writes about the watched items, and how Rec does, after some steps.

    Attributes:
        step: updates before it.
        ndcg: validation NDCG@10, items known as they are now; None without validation cases.
        degenerate: share of the texts that the knowledge stage would not take.
        words: mean number of words.
        distinct_pairs: different pairs of neighbouring words over all pairs, of all texts together.
        texts: whole answers, by item_id.
    """

    step: int
    ndcg: float | None
    degenerate: float
    words: float
    distinct_pairs: float
    texts: dict[str, str]

    def figures(self) -> dict[str, float]:
        """By their names in TensorBoard."""
        shown = {
            "texts/degenerate": self.degenerate,
            "texts/words": self.words,
            "texts/distinct_pairs": self.distinct_pairs,
        }
        return shown if self.ndcg is None else {**shown, "recommender/ndcg_at_10": self.ndcg}


class Watch:
    """Figures and looks of one alignment.

    Attributes:
        looks: in order; the first is before the first step.

    Args:
        models: that are aligned.
        items: item_indices of the watched items.
        folder: gets the files.
        config: settings.
    """

    def __init__(
        self, models: Models, items: Sequence[int], folder: Path, config: AlignmentConfig
    ) -> None:
        self._models, self._items, self._folder, self._config = models, items, folder, config
        self._events: Any = None
        self.looks: list[Look] = []

    def begin(self, step: int, looks: Sequence[Mapping[str, Any]]) -> None:
        """Go on after a step; what a killed run noted of later ones is dropped."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self.looks = [Look(**look) for look in looks]
        path = self._folder / _FIGURES
        kept = [line for line in read_figures(self._folder) if line["step"] <= step]
        path.write_text("".join(json.dumps(line) + "\n" for line in kept))
        self._events = SummaryWriter(str(self._folder / _EVENTS), purge_step=step + 1)

    def note(self, step: int, figures: Mapping[str, float]) -> None:
        """Write the figures of a step."""
        with (self._folder / _FIGURES).open("a") as file:
            file.write(json.dumps({"step": step, **figures}) + "\n")
        self._show(step, figures)

    def look(self, step: int, current_texts: dict[int, str]) -> Look:
        """Validate, and have the LLM write about the watched items."""
        inputs = self._models.inputs
        template = read_template(inputs.settings.knowledge.prompt)
        kind = inputs.settings.knowledge.item_kind
        prompts = [template.fill(inputs.item_texts[item - 1], kind) for item in self._items]
        answers = self._models.write(prompts)
        flaws = [
            find_flaw(answer, prompt.answer_begins, prompt.ask)
            for answer, prompt in zip(answers, prompts, strict=True)
        ]
        written = [
            WORD.findall(answer.removeprefix(prompt.answer_begins).lower())
            for answer, prompt in zip(answers, prompts, strict=True)
        ]
        ndcg = self._models.measure(current_texts)
        look = Look(
            step,
            None if np.isnan(ndcg) else ndcg,
            float(np.mean([flaw is not None for flaw in flaws])),
            float(np.mean([len(words) for words in written])),
            distinct_pairs(written),
            {inputs.item_ids[i - 1]: text for i, text in zip(self._items, answers, strict=True)},
        )
        self.looks.append(look)
        self._show(step, look.figures())
        for item_id, text in look.texts.items():
            self._events.add_text(f"texts/{item_id}", text, step)
        return look

    def collapse(self) -> str | None:
        """Why alignment has to stop; None while the texts are sound."""
        first, last = self.looks[0], self.looks[-1]
        config = self._config
        if last.degenerate - first.degenerate > config.stop_degenerate_share:
            return (
                f"{last.degenerate:.0%} of the watched texts are degenerate, "
                f"{first.degenerate:.0%} were before alignment"
            )
        if last.distinct_pairs < config.stop_distinct_share * first.distinct_pairs:
            return (
                f"the watched texts repeat each other: {last.distinct_pairs:.0%} of their word "
                f"pairs differ, {first.distinct_pairs:.0%} did before alignment"
            )
        return None

    def state(self) -> list[dict[str, Any]]:
        """For a checkpoint; `begin` takes it."""
        return [asdict(look) for look in self.looks]

    def close(self) -> None:
        """Write what is buffered."""
        if self._events is not None:
            self._events.close()

    def _show(self, step: int, figures: Mapping[str, float]) -> None:
        for name, value in figures.items():
            self._events.add_scalar(name, value, step)


def distinct_pairs(texts: Sequence[Sequence[str]]) -> float:
    """Different pairs of neighbouring words over all pairs in texts; 0 where there are none."""
    pairs = [pair for words in texts for pair in itertools.pairwise(words)]
    return len(set(pairs)) / len(pairs) if pairs else 0.0


def watched_items(item_ids: Sequence[str], config: AlignmentConfig) -> list[int]:
    """item_indices of the configured items, or of some at even distances.

    Raises:
        ConfigError: an item isn't in the catalogue.
    """
    if not config.report_items:
        n_items = min(N_ITEMS, len(item_ids))
        return [1 + number * len(item_ids) // n_items for number in range(n_items)]
    index_of = {item_id: number for number, item_id in enumerate(item_ids, start=1)}
    for item_id in config.report_items:
        if item_id not in index_of:
            raise ConfigError(f"alignment.report_items: {item_id!r} is not in the catalogue")
    return [index_of[item_id] for item_id in config.report_items]


def read_figures(folder: Path) -> list[dict[str, float]]:
    """Figures of the steps that were noted; a line that a kill cut off is left out."""
    found = []
    path = folder / _FIGURES
    for line in path.read_text().splitlines() if path.is_file() else []:
        try:
            found.append(json.loads(line))
        except ValueError:
            break
    return found
