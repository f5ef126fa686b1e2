"""How well users are served whom the training did not know, from their first interactions.

python -m offline.benchmark.newcomers lightgcn
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from model_store.errors import InputError
from offline.data.split import Cases, Split
from offline.inputs import find_source
from offline.intervals import uncertainty_of
from offline.metrics import gains, hits, rank_cases
from offline.models import new_recommender
from offline.recipe import Recipe, read_recipe
from offline.recommender.baselines import Popularity
from offline.recommender.recommender import Baseline, TrainingData
from offline.stages.data import DataStage
from offline.stages.stage import run_stage

Float64 = npt.NDArray[np.float64]
K = 10
MODELS = ("recommender", "popularity")


@dataclass(frozen=True)
class Served:
    """Figures of users who were held out, by model.

    Attributes:
        ndcg: each user's share in NDCG@10, float64 [seeds, users].
        hit_rate: each user's in HR@10.
    """

    ndcg: dict[str, Float64]
    hit_rate: dict[str, Float64]


def measure(
    split: Split, n_items: int, recipe: Recipe, seeds: Sequence[int], folds: int, length: int
) -> Served:
    """Train without one fold of the users after the other, and rank the next item of these.

    Args:
        split: its training part is used, and the validation cases of users who train.
        n_items: N.
        recipe: of the model, over ids alone.
        seeds: of the trainings; the folds are the same for all.
        folds: that the users are divided into.
        length: first interactions that a held-out user is served from; the next one is the target.

    Raises:
        InputError: no user has so many training interactions.
    """
    ranks: dict[str, list[list[npt.NDArray[np.int64]]]] = {name: [] for name in MODELS}
    for seed in seeds:
        model = recipe.with_changes(**{recipe.seed_table: {"seed": seed}})
        for of_seed in ranks.values():
            of_seed.append([])
        for training, cases in _folds(split, n_items, folds, length):
            trained = new_recommender(model.model, model.training).fit(training)
            models: tuple[Baseline, ...] = (trained, Popularity().fit(training))
            for each, name in zip(models, MODELS, strict=True):
                ranks[name][-1].append(rank_cases(each.score, cases, k=0).ranks)
    whole = {name: [np.concatenate(row) for row in rows] for name, rows in ranks.items()}
    return Served(
        {name: np.stack([gains(row, K) for row in rows]) for name, rows in whole.items()},
        {name: np.stack([hits(row, K) for row in rows]) for name, rows in whole.items()},
    )


def _folds(
    split: Split, n_items: int, folds: int, length: int
) -> Iterator[tuple[TrainingData, Cases]]:
    """The training data without a fold's users, and the cases of these."""
    data = TrainingData.of_split(split, n_items)
    n_users = len(data.sequences)
    long_enough = np.array([len(sequence) > length for sequence in data.sequences])
    if not long_enough.any():
        raise InputError(f"no user has more than {length} training interactions")
    fold_of = np.random.default_rng(0).permutation(n_users) % folds
    for fold in range(folds):
        others = fold_of != fold
        validation = split.validation.chosen(others[split.validation.users])
        rows = np.flatnonzero(~others & long_enough)
        held_out = [data.sequences[row] for row in rows.tolist()]
        yield (
            replace(data.of_users(np.flatnonzero(others)), validation=validation),
            Cases(
                rows.astype(np.int32),
                length * np.arange(len(rows) + 1, dtype=np.int64),
                np.concatenate([sequence[:length] for sequence in held_out]),
                np.array([sequence[length] for sequence in held_out], dtype=np.int32),
            ),
        )


def describe(served: Served) -> Iterator[str]:
    """Lines of a table, and of the differences with their 95 % intervals."""
    for metric, values in (("NDCG@10", served.ndcg), ("HR@10", served.hit_rate)):
        figures = ", ".join(f"{name} {values[name].mean():.4f}" for name in MODELS)
        gain = values["recommender"] - values["popularity"]
        margin = uncertainty_of(gain).margin
        low, high = gain.mean() - margin, gain.mean() + margin
        yield f"{metric}: {figures}; gain {gain.mean():+.4f} ({low:+.4f} to {high:+.4f})"


def main() -> None:
    """Print the figures of a recipe."""
    parser = argparse.ArgumentParser(
        prog="python -m offline.benchmark.newcomers",
        description="Serve users whom the training did not know from their first interactions.",
    )
    parser.add_argument("recipe", help="name or .toml file; texts are not read")
    parser.add_argument("--data", default="movielens-100k", help="name or folder of a data set")
    parser.add_argument("--seeds", type=int, default=3, help="number of trainings of each fold")
    parser.add_argument("--folds", type=int, default=3, help="that the users are divided into")
    parser.add_argument("--length", type=int, default=5, help="interactions a user is served from")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        source = find_source(given.data, None, None)
        data = run_stage(DataStage(source, "leave_one_out", print), Path(folder))
        split, n_items = data.split(), data.n_items
    recipe, seeds = read_recipe(given.recipe), range(given.seeds)
    served = measure(split, n_items, recipe, seeds, given.folds, given.length)
    n_seeds, n_users = served.ndcg["popularity"].shape
    print(f"{n_users} users served from {given.length} interactions each, {n_seeds} seeds")
    print("\n".join(describe(served)))


if __name__ == "__main__":
    main()
