"""A language model whose texts tell what it was asked together with; other processes open it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from offline.knowledge.config import KnowledgeConfig
from offline.knowledge.language_model import Answer, Sampling
from offline.knowledge.prompt import Prompt
from tests.offline.knowledge.stand_ins import texts_of, title_of

CONFIG = KnowledgeConfig(model="telling", item_kind="film", batch_size=3, retries=2)
TEXTS = texts_of(*(f"film {'x' * (number % 7)}{number}" for number in range(40)))
# First answers about every fifth film are degenerate.
_DEGENERATE = 5
_N_BEFORE_HELD, _HELD_S = 20, 120.0


class Telling:
    """Its texts change with the batch, its order and its seed, as bits of a network's sums do."""

    name = "telling"
    prompts_at_a_time = CONFIG.batch_size

    def __init__(self, asked: Path) -> None:
        self._asked = asked

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[Answer]:
        titles = [title_of(prompt) for prompt in prompts]
        with self._asked.open("a") as file:
            file.write("".join(f"{title}\n" for title in titles))
        together = " with ".join(titles)
        return [
            Answer("heat and " * 30, 60)
            if sampling.temperature == 0 and int(title.split()[1].strip("x")) % _DEGENERATE == 0
            else Answer(f"People like {title} seen {together} by seed {sampling.seed} a lot.", 12)
            for title in titles
        ]

    def as_they_come(
        self, prompts: Sequence[Prompt], sampling: Sampling
    ) -> Iterator[tuple[int, Answer]]:
        return enumerate(self.generate(prompts, sampling))


class Held(Telling):
    """One that answers some questions and is then at work on the next ones until it is killed."""

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[Answer]:
        answers = super().generate(prompts, sampling)
        if len(titles_asked(self._asked.parent)) > _N_BEFORE_HELD:
            time.sleep(_HELD_S)
        return answers


def open_held(_config: KnowledgeConfig, cache: Path) -> Telling:
    return Held(cache / "asked")


def open_telling(_config: KnowledgeConfig, cache: Path) -> Telling:
    return Telling(cache / "asked")


def titles_asked(cache: Path) -> list[str]:
    return (cache / "asked").read_text().splitlines()
