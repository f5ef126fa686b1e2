"""Trains the project's SASRec on a synthetic world of up to a million items, in minutes of CPU.

`offline.recommender.training.Trainer` keeps dense moments of the whole table and touches all of
them in every step, which at a million rows is most of the time. Here a step sees only the rows it
uses: the network and the loss are the project's own (sampled softmax with the logQ correction),
rows get Adam steps of their own as they come up. Batches are drawn from the world as they are
needed, so nothing is seen twice and all measured cases are held out.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from offline.cache import cache_folder
from offline.fingerprint import fingerprint_of, hash_code
from offline.progress import Progress
from offline.recommender.backbones.sasrec import Sasrec
from offline.recommender.losses import sampled_cross_entropy
from offline.recommender.negatives import Logs, Rows
from offline.synthetic.model import CONFIG, MadeModel
from offline.synthetic.world import World
from offline.training.checkpoint import load_checkpoint, save_checkpoint
from offline.training.seeds import seeded

_ID_STD = 0.02
_BATCH_STEPS = 6_400  # interactions in a batch: many short histories, or fewer long ones
_LENGTHS = (50, 50, 50, 200)
_NEGATIVES = 1_024
_DRAW_POWER = 0.5
# A row is updated only about a dozen times, so its steps are large.
_NETWORK_RATE, _TABLE_RATE = 1e-3, 2e-2
_WARM_UP_STEPS = 50
_FEWEST_STEPS, _MAX_STEPS, _ITEMS_PER_STEP = 200, 2_000, 500
_CHECKPOINT_S = 60.0
_JUDGED, _K = 500, 10


def trained_model(world: World) -> MadeModel:
    """The trained model of a world, from the cache where it is there already.

    An interrupted training continues from its last checkpoint.
    """
    fingerprint = fingerprint_of(CONFIG, hash_code(__name__), world.n_items, world.seed)
    path = (
        cache_folder()
        / "synthetic"
        / f"{world.n_items}-{world.seed}-{fingerprint[:12]}.safetensors"
    )
    training = _Training(world)
    training.take_up(path)
    training.run(path)
    return training.model()


@dataclass
class _Rows:
    """An item table that is trained row by row, with Adam's moments and counts of each row."""

    values: Tensor
    first: Tensor
    second: Tensor
    updates: Tensor

    @classmethod
    def random(cls, n_items: int, size: int, seed: int) -> _Rows:
        generator = torch.Generator().manual_seed(seed)
        values = torch.randn(n_items + 1, size, generator=generator) * _ID_STD
        values[0] = 0
        zeros = torch.zeros_like(values)
        return cls(values, zeros, zeros.clone(), torch.zeros(n_items + 1, dtype=torch.int32))

    def step(self, rows: Tensor, gradient: Tensor, rate: float) -> None:
        """One Adam step of some rows, each corrected for how many it has had."""
        self.updates[rows] += 1
        count = self.updates[rows].unsqueeze(1)
        first = self.first[rows].mul_(0.9).add_(gradient, alpha=0.1)
        second = self.second[rows].mul_(0.999).addcmul_(gradient, gradient, value=0.001)
        self.first[rows], self.second[rows] = first, second
        mean = first / (1 - 0.9**count)
        spread = (second / (1 - 0.999**count)).sqrt_().add_(1e-8)
        self.values[rows] -= rate * mean / spread


class _Training:
    def __init__(self, world: World) -> None:
        self.world = world
        with seeded(world.seed):
            self.backbone = Sasrec(CONFIG)
        self.rows = _Rows.random(world.n_items, CONFIG.embedding_size, world.seed)
        self.optimizer = torch.optim.Adam(self.backbone.parameters(), lr=_NETWORK_RATE)
        self.counts = np.zeros(world.n_items + 1, dtype=np.int64)
        self.done = 0
        self.total = min(_MAX_STEPS, max(_FEWEST_STEPS, world.n_items // _ITEMS_PER_STEP))
        self.metrics: dict[str, float] = {}

    def run(self, path: Path) -> None:
        """Train to the end, leaving checkpoints."""
        if self.metrics:
            return
        saved_s = time.monotonic()
        with Progress("training", self.total, "step") as progress:
            progress.advance(self.done)
            while self.done < self.total:
                loss = self._step()
                progress.advance(note=f"loss {loss:.3f}")
                if time.monotonic() - saved_s > _CHECKPOINT_S:
                    self._save(path)
                    saved_s = time.monotonic()
        self._judge()
        self._save(path)

    def model(self) -> MadeModel:
        """The trained model."""
        return MadeModel(
            "trained",
            self.backbone.eval(),
            self.rows.values.numpy(),
            self.counts.astype(np.float32),
            metrics=self.metrics,
        )

    def _step(self) -> float:
        rng = np.random.default_rng([self.world.seed, self.world.n_items, 5, self.done])
        length = _LENGTHS[self.done % len(_LENGTHS)]
        sequences = self.world.sequences(_BATCH_STEPS // length, length + 1, rng)
        self.counts += np.bincount(sequences.ravel(), minlength=len(self.counts))
        negatives, expected = self._draw_negatives(rng)
        rows, inverse = np.unique(
            np.concatenate([sequences.ravel(), negatives]), return_inverse=True
        )
        places = torch.from_numpy(inverse)
        windows = places[: sequences.size].reshape(sequences.shape)
        used = torch.from_numpy(rows)
        table = self.rows.values[used].requires_grad_()
        self.backbone.train()
        present = torch.ones(len(sequences), length, dtype=torch.bool)
        users = self.backbone(table[windows[:, :-1]], present).flatten(0, 1)
        targets = windows[:, 1:].flatten()
        loss = sampled_cross_entropy(
            users, table, targets, places[sequences.size :], torch.from_numpy(expected)
        )
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        # Warm-up at the start, decay to 0 in the second half.
        rate = min(1.0, (self.done + 1) / _WARM_UP_STEPS, 2 * (1 - self.done / self.total))
        self.optimizer.param_groups[0]["lr"] = _NETWORK_RATE * rate
        self.optimizer.step()
        assert table.grad is not None  # noqa: S101 - the loss depends on it
        self.rows.step(used, table.grad, _TABLE_RATE * rate)
        self.done += 1
        return float(loss.detach())

    def _draw_negatives(self, rng: np.random.Generator) -> tuple[Rows, Logs]:
        """Items drawn in proportion to their counts so far ** 0.5, and their expected counts.

        An item that is drawn twice is listed once, with half the expected count: it counts twice.
        """
        weights = np.sqrt(self.counts.astype(np.float32))
        cumulated = weights.cumsum(dtype=np.float64)
        drawn = cumulated.searchsorted(rng.random(_NEGATIVES) * cumulated[-1], side="right")
        drawn = drawn.clip(1, self.world.n_items)
        probabilities = np.maximum(weights[drawn], 1.0) / cumulated[-1]
        items, first, times = np.unique(drawn, return_index=True, return_counts=True)
        return items.astype(np.int64), np.log(_NEGATIVES * probabilities[first] / times).astype(
            np.float32
        )

    @torch.inference_mode()
    def _judge(self) -> None:
        """Rank the next item of held-out people among all items."""
        rng = np.random.default_rng([self.world.seed, self.world.n_items, 6])
        people = self.world.sequences(_JUDGED, 51, rng)
        self.backbone.eval()
        history = torch.from_numpy(people[:, :-1].astype(np.int64))
        users = self.backbone.last(self.rows.values[history], history > 0)
        popularity = torch.from_numpy(self.counts.astype(np.float32))
        ours, popular = 0, 0
        for user, seen, target in zip(users, history, people[:, -1].tolist(), strict=True):
            ours += _is_hit(self.rows.values @ user, seen, target)
            popular += _is_hit(popularity.clone(), seen, target)
        self.metrics = {
            "hit_rate_at_10": ours / len(people),
            "popularity_hit_rate_at_10": popular / len(people),
            "training_interactions": float(self.counts.sum()),
        }

    def _save(self, path: Path) -> None:
        rows = self.rows
        tensors = {"values": rows.values, "counts": torch.from_numpy(self.counts)}
        tensors |= {f"backbone/{name}": t for name, t in self.backbone.state_dict().items()}
        if not self.metrics:  # moments are needed only to continue
            tensors |= {"first": rows.first, "second": rows.second, "updates": rows.updates}
            for number, moments in self.optimizer.state_dict()["state"].items():
                tensors |= {f"optimizer/{number}/{name}": t for name, t in moments.items()}
        save_checkpoint(path, tensors, {"done": self.done, "metrics": self.metrics})

    def take_up(self, path: Path) -> None:
        """Continue from a checkpoint, if there is one."""
        found = load_checkpoint(path)
        if found is None:
            return
        tensors, state = found
        self.done, self.metrics = state["done"], state["metrics"]
        self.counts = tensors["counts"].numpy()
        self.rows.values = tensors["values"]
        self.backbone.load_state_dict(_within(tensors, "backbone/"))
        if not self.metrics:
            self.rows.first, self.rows.second = tensors["first"], tensors["second"]
            self.rows.updates = tensors["updates"]
            moments: dict[int, dict[str, Tensor]] = {}
            for name, tensor in _within(tensors, "optimizer/").items():
                number, _, moment = name.partition("/")
                moments.setdefault(int(number), {})[moment] = tensor
            self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": moments})


def _within(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}


def _is_hit(scores: Tensor, seen: Tensor, target: int) -> bool:
    """Whether the target is among the best 10 that are not seen; ties count against it."""
    at_target = scores[target].clone()
    if bool((seen == target).any()):
        return False
    scores[0] = scores[seen] = -torch.inf
    return int((scores >= at_target).sum()) <= _K
