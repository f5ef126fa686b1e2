"""`python -m offline.synthetic`: create a bundle of N items to measure with."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from model_store.errors import BundleError, ConfigError, LongtailError
from offline.export.config import RetrievalConfig

FEWEST_ITEMS = 100
SMOLLM2_LAYERS = 30


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    chosen = _parser().parse_args(arguments)
    try:
        if chosen.items < FEWEST_ITEMS:
            raise ConfigError(f"--items {chosen.items}: at least {FEWEST_ITEMS}")
        if chosen.reranker is not None and not 0 <= chosen.reranker <= SMOLLM2_LAYERS:
            raise ConfigError(f"--reranker {chosen.reranker}: 0 to {SMOLLM2_LAYERS} layers")
        folder = make(
            chosen.items,
            chosen.seed,
            chosen.out,
            trained=chosen.trained,
            knowledge=chosen.knowledge,
            exact_up_to=chosen.exact_up_to,
            reranker_layers=chosen.reranker,
        )
    except LongtailError as error:
        print(f"offline.synthetic: {error}", file=sys.stderr)
        return 1
    print(folder)
    return 0


def make(
    n_items: int,
    seed: int,
    folder: Path,
    *,
    trained: bool,
    knowledge: bool,
    exact_up_to: int,
    reranker_layers: int | None = None,
) -> Path:
    """Create the bundle; returns its folder.

    Raises:
        BundleError: there is something at `folder` already.
    """
    from offline.synthetic.bundle import MadeBundle
    from offline.synthetic.model import untrained_model
    from offline.synthetic.training import trained_model
    from offline.synthetic.world import MAX_DISTINCT, World

    if folder.exists():
        raise BundleError(f"{folder}: there is a bundle already")
    world = World.of_size(n_items, seed)
    if not trained:
        model = untrained_model(world)
    elif n_items <= MAX_DISTINCT:
        model = trained_model(world)
    else:
        model = trained_model(World.of_size(MAX_DISTINCT, seed)).repeated(world)
    made = MadeBundle(world, model, knowledge, exact_up_to, reranker_layers)
    return made.write(folder).folder


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m offline.synthetic",
        description="Create a complete synthetic bundle, for benchmarks: users u1, u2, … with\n"
        "histories of 5, 20, 50 and 200 items, attributes title, genres and shelf (one\n"
        "item in a hundred has shelf 'rare'). SASRec is trained on synthetic histories (minutes;\n"
        "kept in the cache); beyond a million items its rows are repeated with noise.",
        epilog="examples:\n"
        "  python -m offline.synthetic --items 1000000 --out builds/synthetic-1m\n"
        "  python -m offline.synthetic --items 3700 --no-trained --out builds/synthetic-small",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--items", type=int, required=True, metavar="N", help="size of catalogue")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FOLDER", help="must not exist yet"
    )
    parser.add_argument("--seed", type=int, default=0, help="of everything (0)")
    parser.add_argument(
        "--knowledge",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="with synthetic knowledge vectors and a fresh projection (no)",
    )
    parser.add_argument(
        "--trained",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="train the model; without, a random one over clustered vectors (yes)",
    )
    parser.add_argument(
        "--reranker",
        type=int,
        nargs="?",
        const=SMOLLM2_LAYERS,
        metavar="LAYERS",
        help="with a reranker: a random language model of SmolLM2-135M's shape, which has "
        f"{SMOLLM2_LAYERS} layers; 0: for an endpoint, without a model of its own (no reranker)",
    )
    usual = RetrievalConfig().exact_up_to
    parser.add_argument(
        "--exact-up-to",
        type=int,
        default=usual,
        metavar="N",
        help=f"items up to which all are scored, without a retriever ({usual})",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
