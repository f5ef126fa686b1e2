"""`longtail build`. Heavy imports wait for the command."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

from offline.engine.choice import LOCAL, add_engine_flags, open_engine
from offline.source_flags import add_source_flags, source_of

if TYPE_CHECKING:
    from offline.inputs import Source
    from offline.recipe import Recipe
    from offline.training.group import Group


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    build = subparsers.add_parser(
        "build",
        help="build a bundle from interactions and a catalogue",
        description="Run the offline path: data, knowledge, encoding, recommender, evaluation,\n"
        "export. Unchanged stages are not run again; an interrupted build continues\n"
        "where it stopped. Started by torchrun, its processes train together.",
        epilog="examples:\n"
        "  longtail build --interactions movielens-100k --out builds/demo\n"
        "  longtail build --interactions clicks.csv --items items.csv --out builds/mine --refit\n"
        "  longtail build --interactions ml-1m/ --recipe titles --seed 1 --out builds/ml-1m\n"
        "  torchrun --nproc-per-node 4 -m longtail build --interactions ml-1m/ --out builds/ml-1m",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_source_flags(build)
    build.add_argument(
        "--recipe",
        metavar="NAME",
        help="name of a recipe, or a .toml file (default, or sparse where items have few "
        "interactions)",
    )
    build.add_argument("--seed", type=int, metavar="N", help="of training, instead of the recipe's")
    build.add_argument(
        "--split",
        choices=("leave_one_out", "global_time", "random"),
        help="how interactions are held out for choices and figures (leave_one_out; for recipes of "
        "ratings random, a tenth for each)",
    )
    build.add_argument(
        "--refit",
        action="store_true",
        help="put the model trained on everything, held-out interactions too, into the bundle",
    )
    build.add_argument(
        "--repeats",
        choices=("keep", "runs", "first"),
        help="instead of the recipe's: of a user's interactions with one item, keep all; the first "
        "of each run without another item in between; the first of all (keep)",
    )
    build.add_argument(
        "--event-types",
        metavar="TYPES",
        help="use interactions of these types alone, as the column event_type names them: "
        "purchase,cart",
    )
    build.add_argument(
        "--catalogue-only",
        action="store_true",
        help="leave out items that the catalogue lacks, with their interactions",
    )
    writing = build.add_mutually_exclusive_group()
    writing.add_argument(
        "--generate",
        action="store_true",
        help="have the recipe's language model describe items whose description is "
        "neither bundled nor cached (about a second each; without it, their own texts are used)",
    )
    writing.add_argument(
        "--regenerate",
        action="store_true",
        help="as --generate, and ignore the bundled texts",
    )
    build.add_argument(
        "--reranker",
        choices=("now", "later", "never"),
        default="now",
        help="whether the bundle gets the recipe's reranker; later: only if its language model has "
        "been exported by an earlier build (now)",
    )
    add_engine_flags(build, "1, in which libraries use all cores")
    build.add_argument(
        "--activate",
        action="store_true",
        help="publish the bundle afterwards, and make it the active version",
    )
    build.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from offline.build import Build
    from offline.recipe import DEFAULT, change_recipe, read_recipe, suited_recipe
    from offline.training.group import launched_group

    def read(name: str) -> Recipe:
        recipe = read_recipe(name)
        if arguments.seed is not None:
            recipe = change_recipe(
                recipe, f"--seed {arguments.seed}", **{recipe.seed_table: {"seed": arguments.seed}}
            )
        if arguments.repeats is not None:
            recipe = change_recipe(
                recipe, f"--repeats {arguments.repeats}", data={"repeats": arguments.repeats}
            )
        if arguments.event_types is not None:
            names = [name.strip() for name in arguments.event_types.split(",")]
            flag = f"--event-types {arguments.event_types}"
            recipe = change_recipe(recipe, flag, data={"event_types": names})
        if arguments.catalogue_only:
            recipe = change_recipe(recipe, "--catalogue-only", data={"catalogue_only": True})
        if arguments.generate or arguments.regenerate:
            flag = "--generate" if arguments.generate else "--regenerate"
            recipe = change_recipe(recipe, flag, knowledge={"generate": True})
        return recipe

    def suit(n_interactions: int, n_items: int) -> Recipe:
        name = suited_recipe(n_interactions, n_items)
        _print_line(f"recipe: {name}, for {n_interactions / n_items:.0f} interactions an item")
        return read(name)

    if arguments.activate:
        from offline.publish import check_settings

        check_settings(arguments.out / "bundle")
    processes = arguments.processes or (1 if arguments.engine == LOCAL else None)
    with launched_group() as group, _shown_by_the_first(group):
        build = Build(
            _source_of(arguments, group),
            read(arguments.recipe or DEFAULT),
            arguments.out,
            split=arguments.split,
            refit=arguments.refit,
            regenerate=arguments.regenerate,
            log=_print_line,
            suit=None if arguments.recipe else suit,
            reranker=arguments.reranker,
            engine=open_engine(arguments.engine, processes),
            group=group,
        )
        bundle = build.run()
        if arguments.activate and group.leads:
            from offline.publish import publish_bundle

            publish_bundle(bundle, activate=True, log=_print_line)
        group.wait()
    return 0


def _source_of(arguments: argparse.Namespace, group: Group) -> Source:
    """The data set; the first process fetches it, if that is needed."""
    if group.leads:
        source = source_of(arguments)
        group.wait()
        return source
    group.wait()
    return source_of(arguments)


@contextmanager
def _shown_by_the_first(group: Group) -> Iterator[None]:
    """Of a group's processes the first one shows what is going on; each shows its errors."""
    if group.leads:
        yield
        return
    with Path(os.devnull).open("w") as nothing, redirect_stdout(nothing), redirect_stderr(nothing):
        yield


def _print_line(line: str) -> None:
    print(line, flush=True)
