"""`longtail align`: the part of a build that ends with what an aligned LLM wrote."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from offline.source_flags import add_source_flags, source_of

if TYPE_CHECKING:
    from offline.knowledge.config import KnowledgeConfig
    from offline.recipe import Recipe
    from offline.stages.alignment import AlignmentArtifact
    from offline.stages.data import DataArtifact

DEFAULT_RECIPE = "aligned"
_SHOWN_TEXTS = 3


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    align = subparsers.add_parser(
        "align",
        help="have the recommender teach the language model what to write about items",
        description="Align a language model with the recommender (SeRALM 4.4): texts that make\n"
        "the true next item likelier than a recommender over ids finds it become likelier. Then\n"
        "the aligned model describes every item anew. `longtail build` with the same recipe and\n"
        "folder goes on from there: texts are encoded, the recommender is trained, the bundle is\n"
        "built. An interrupted run resumes at the step it was in. docs/alignment.md says more.",
        epilog="examples:\n"
        "  longtail align --interactions movielens-100k --out builds/aligned\n"
        "  longtail align --interactions clicks.csv --items items.csv --recipe mine.toml "
        "--out builds/mine\n"
        "  longtail align --interactions ml-1m/ --mode synchronous --steps 1000 --out builds/ml-1m",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_source_flags(align)
    align.add_argument(
        "--recipe",
        metavar="NAME",
        default=DEFAULT_RECIPE,
        help=f"name of a recipe, or a .toml file, with a table [alignment] ({DEFAULT_RECIPE})",
    )
    align.add_argument(
        "--steps", type=int, metavar="N", help="number of updates, instead of the recipe's"
    )
    align.add_argument(
        "--mode",
        choices=("pool", "synchronous", "asynchronous"),
        help="how texts are sampled, instead of the recipe's: once beforehand, at every step, or "
        "by a process of its own",
    )
    align.add_argument(
        "--seed", type=int, metavar="N", help="of the alignment, instead of the recipe's"
    )
    align.add_argument(
        "--split",
        choices=("leave_one_out", "global_time"),
        default="leave_one_out",
        help="how interactions are held out; the held-out ones teach nothing (leave_one_out)",
    )
    align.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from offline.artifact import locked
    from offline.learning import describe
    from offline.stages.data import DataStage
    from offline.stages.stage import ArtifactT, Stage, run_stage

    recipe = _recipe(arguments)
    source = source_of(arguments)

    def make(stage: Stage[ArtifactT]) -> ArtifactT:
        return run_stage(stage, arguments.out, _print_line)

    asked = source.adapt(recipe.knowledge)
    with locked(arguments.out):
        stage = DataStage(source, arguments.split, _print_line, recipe.data, recipe.events)
        data = make(stage)
        pending = _pending(data, recipe, asked, arguments.out)
        if pending:
            from offline.cost import expected_costs

            _print_line("expected:")
            asking = recipe.model_copy(update={"knowledge": asked})
            for cost in expected_costs(pending, data, asking, regenerate=False):
                _print_line(f"  {cost}")
        described = describe(data, recipe, asked, make)
    if described.alignment is not None:
        _print_report(described.alignment, _print_line)
    return 0


def _pending(data: DataArtifact, recipe: Recipe, asked: KnowledgeConfig, root: Path) -> list[str]:
    """Names of the stages that will be run."""
    from offline.learning import describe
    from offline.stages.stage import ArtifactT, Stage

    pending: list[str] = []

    def plan(stage: Stage[ArtifactT]) -> ArtifactT:
        if not stage.is_current(root):
            pending.append(stage.name)
        return stage.planned(root)

    describe(data, recipe, asked, plan)
    return pending


def _recipe(arguments: argparse.Namespace) -> Recipe:
    """The recipe with the flags' changes.

    Raises:
        ConfigError: it has no alignment, or a flag doesn't fit it.
    """
    from model_store.errors import ConfigError
    from offline.recipe import change_recipe, read_recipe

    given = {name: getattr(arguments, name) for name in ("steps", "mode", "seed")}
    changes = {name: value for name, value in given.items() if value is not None}
    flags = " ".join(f"--{name} {value}" for name, value in changes.items())
    recipe = change_recipe(read_recipe(arguments.recipe), flags, alignment=changes)
    if not recipe.aligns:
        raise ConfigError(
            f"recipe {arguments.recipe!r}: alignment.steps = 0; name the number of steps with "
            "--steps"
        )
    return recipe


def _print_report(alignment: AlignmentArtifact, log: Callable[[str], None]) -> None:
    """Figures before and after, and the first of the watched texts."""
    path = alignment.path(alignment.REPORT)
    report: dict[str, Any] = alignment.read_json(alignment.REPORT)
    first, last = report["looks"][0], report["looks"][-1]
    if report["stopped"] is not None:
        log(f"stopped after {report['steps']} steps: {report['stopped']}")
    for name, key in (
        ("validation NDCG@10", "ndcg"),
        ("share of degenerate texts", "degenerate"),
        ("words in a text", "words"),
        ("share of different word pairs", "distinct_pairs"),
    ):
        if first[key] is not None:
            log(f"{name}: {first[key]:.4g} before, {last[key]:.4g} after")
    for item_id, texts in [*report["texts"].items()][:_SHOWN_TEXTS]:
        log(f"item {item_id} before: {texts['before']}")
        log(f"item {item_id} after:  {texts['after']}")
    log(f"report: {path}")


def _print_line(line: str) -> None:
    print(line, flush=True)
