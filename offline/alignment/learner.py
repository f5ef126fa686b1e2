"""One update of both models from a batch of experiences, and their state on disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from model_store.errors import InputError
from offline.alignment.config import AlignmentConfig
from offline.alignment.estimator import Draw, weigh
from offline.alignment.experience import Experience, SampledText
from offline.alignment.item_prompts import ItemPrompts
from offline.alignment.judge import Judge
from offline.alignment.policy import Policy
from offline.alignment.policy_update import PolicyUpdate
from offline.alignment.recommender_update import RecommenderUpdate
from offline.training.checkpoint import (
    gather_tensors,
    load_checkpoint,
    restore_tensors,
    save_checkpoint,
)
from offline.training.seeds import seeded, stream_of

SNAPSHOT = "snapshot.safetensors"


class AlignmentLearner:
    """The `Learner` of an LLM and a recommender.

    Attributes:
        n_steps: updates that were made.
        current_texts: the text that each item is known by now, of items that have another than
            when alignment began.

    Args:
        policy: the LLM.
        prompts: of the items.
        judge: holds the recommender.
        config: settings.
    """

    def __init__(
        self, policy: Policy, prompts: ItemPrompts, judge: Judge, config: AlignmentConfig
    ) -> None:
        self._policy, self._judge, self._config = policy, judge, config
        self._of_policy = PolicyUpdate(policy, prompts, config)
        self._of_recommender = RecommenderUpdate(judge, config)
        self.n_steps = 0
        self.current_texts: dict[int, str] = {}

    def update(self, experiences: Sequence[Experience]) -> Mapping[str, float]:
        """See `Learner.update`. Raises InputError if a figure is no longer a number."""
        draws = weigh(experiences, self._config)
        stale = any(each.snapshot < self.n_steps for each in experiences)
        with seeded(stream_of(self._config.seed, self.n_steps), self._of_recommender.module):
            figures = {
                **_figures_of_rewards(experiences, draws),
                **self._of_policy.step(draws, stale=stale),
            }
            rng = np.random.default_rng([self._config.seed, self.n_steps, 1])
            read = self._one_of_each_example(experiences, rng)
            figures |= self._of_recommender.step(read)
        self._adopt_texts(draws, rng)
        self.n_steps += 1
        if not all(np.isfinite(value) for value in figures.values()):
            wrong = next(name for name, value in figures.items() if not np.isfinite(value))
            raise InputError(
                f"alignment: {wrong} became {figures[wrong]} at step {self.n_steps}; try a "
                f"learning_rate below {self._config.learning_rate}"
            )
        return figures

    def _one_of_each_example(
        self, experiences: Sequence[Experience], rng: np.random.Generator
    ) -> list[Experience]:
        """An example with one of its s, drawn as the LLM would write them now."""
        of_example: dict[tuple[int, bytes, int], list[Experience]] = {}
        for each in experiences:
            key = each.group, each.history.tobytes(), each.target
            of_example.setdefault(key, []).append(each)
        return [
            several[self._drawn([each.texts[0] for each in several], rng)]
            for several in of_example.values()
        ]

    def _adopt_texts(self, draws: Sequence[Draw], rng: np.random.Generator) -> None:
        """Know each item of the step by one of its texts, drawn as the LLM would write them now."""
        texts = {id(text): text for draw in draws for text in draw.texts}
        for item in sorted({text.item for text in texts.values()}):
            own = [text for text in texts.values() if text.item == item]
            drawn = own[self._drawn(own, rng)]
            self.current_texts[item] = drawn.text
            with torch.no_grad():
                self._judge.with_text.set_vectors([item], self._judge.vectors.of([drawn.text]))

    def _drawn(self, texts: Sequence[SampledText], rng: np.random.Generator) -> int:
        """Which of some texts, by importance ratio; texts of one s have the same ratio."""
        found = [self._of_policy.ratios[id(text)] for text in texts]
        ratios = np.maximum(found, np.finfo(np.float64).tiny)
        return int(rng.choice(len(texts), p=ratios / ratios.sum()))

    def save(self, snapshot: Path) -> None:
        """See `Learner.save`."""
        tensors = {f"policy/{n}": t for n, t in self._policy.weights.state_dict().items()}
        module = self._of_recommender.module
        tensors |= {f"recommender/{n}": t for n, t in module.state_dict().items()}
        tensors |= self._judge.with_text.knowledge_tensors()
        save_checkpoint(snapshot / SNAPSHOT, tensors, {"step": self.n_steps})

    def save_checkpoint(self, path: Path, state: dict[str, Any]) -> None:
        """Write all that `restore` needs to go on, and a state of the caller's."""
        tensors: dict[str, Tensor] = {}
        for name, module, optimizer in self._parts():
            parts = gather_tensors(module, optimizer, {})
            tensors |= {f"{name}/{key}": tensor for key, tensor in parts.items()}
        tensors |= self._judge.with_text.knowledge_tensors()
        texts = {str(item): text for item, text in self.current_texts.items()}
        own = {"n_steps": self.n_steps, "current_texts": texts}
        save_checkpoint(path, tensors, {**state, "learner": own})

    def restore(self, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        for name, module, optimizer in self._parts():
            own = {
                key.removeprefix(f"{name}/"): tensor
                for key, tensor in tensors.items()
                if key.startswith(f"{name}/")
            }
            restore_tensors(own, module, optimizer)
        self._judge.with_text.restore_knowledge(tensors)
        self.n_steps = state["learner"]["n_steps"]
        texts = state["learner"]["current_texts"]
        self.current_texts = {int(item): text for item, text in texts.items()}

    def _parts(self) -> list[tuple[str, torch.nn.Module, torch.optim.Optimizer]]:
        return [
            ("policy", self._policy.weights, self._of_policy.optimizer),
            ("recommender", self._of_recommender.module, self._of_recommender.optimizer),
        ]


def load_snapshot(snapshot: Path, policy: Policy, judge: Judge) -> int:
    """Give both models the weights that `AlignmentLearner.save` wrote; returns their step.

    Raises:
        InputError: the folder holds none, or those of other models.
    """
    found = load_checkpoint(snapshot / SNAPSHOT)
    if found is None:
        raise InputError(f"{snapshot}: holds no snapshot of an alignment")
    tensors, state = found
    module = torch.nn.ModuleDict({"network": judge.with_text.network})
    if not judge.vectors.frozen:
        module["encoder"] = judge.vectors.encoder.pooled
    try:
        policy.weights.load_state_dict(_part(tensors, "policy/"))
        module.load_state_dict(_part(tensors, "recommender/"))
        judge.with_text.restore_knowledge(tensors)
    except (RuntimeError, KeyError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(f"{snapshot}: a snapshot of other models ({reason})") from error
    return int(state["step"])


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}


def _figures_of_rewards(
    experiences: Sequence[Experience], draws: Sequence[Draw]
) -> dict[str, float]:
    rewards = np.array([each.reward for each in draws])
    texts = list({id(text): text for each in draws for text in each.texts}.values())
    return {
        "reward/mean": float(rewards.mean()),
        "reward/deviation": float(rewards.std()),
        "reward/weight_deviation": float(np.std([each.weight for each in draws])),
        "reward/log_with": float(np.mean([each.log_with for each in experiences])),
        "reward/log_without": float(np.mean([each.log_without for each in experiences])),
        "text/tokens": float(np.mean([len(text.tokens) for text in texts])),
    }
