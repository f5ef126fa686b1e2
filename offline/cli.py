"""`longtail demo`, `build`, `align`, `evaluate`, `benchmark`, `publish`, `knowledge`, `events`,
`refresh`, `recommend-all` and `rerank-all`.

Heavy imports wait for a command.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from model_store.flag_values import up_to
from offline import (
    align_command,
    build_command,
    events_command,
    inspect_command,
    knowledge_command,
    recommend_all_command,
    refresh_command,
    rerank_all_command,
)
from offline.engine.choice import LOCAL, add_engine_flags, open_engine
from offline.logged_flags import add_logged_flags, asks_for_logged, run_logged
from offline.source_flags import (
    ITEM_NAMING_FLAGS,
    add_item_naming_flags,
    add_naming_flags,
    naming_of,
)

if TYPE_CHECKING:
    from offline.engine.work import Engine

_RAW = argparse.RawDescriptionHelpFormatter


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add this package's commands."""
    _register_demo(subparsers)
    inspect_command.register(subparsers)
    build_command.register(subparsers)
    align_command.register(subparsers)
    _register_evaluate(subparsers)
    _register_benchmark(subparsers)
    _register_pretrain_encoder(subparsers)
    _register_publish(subparsers)
    knowledge_command.register(subparsers)
    events_command.register(subparsers)
    refresh_command.register(subparsers)
    recommend_all_command.register(subparsers)
    rerank_all_command.register(subparsers)


def _register_demo(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    demo = subparsers.add_parser(
        "demo",
        help="build a bundle of MovieLens-100K and serve it",
        description="Build a bundle of MovieLens-100K and serve it on 127.0.0.1. The reranker's\n"
        "language model is exported in the background, and joins the running service when it is\n"
        "ready. The admin token is made and printed, unless LONGTAIL_ADMIN_TOKEN is set.",
        epilog="examples:\n  longtail demo\n  longtail demo --port 8080 --no-reranker",
        formatter_class=_RAW,
    )
    demo.add_argument(
        "--port", type=up_to(65_535), default=8000, metavar="N", help="to listen on (8000)"
    )
    demo.add_argument(
        "--out",
        type=Path,
        default=Path("builds/demo"),
        metavar="FOLDER",
        help="folder of the stages (builds/demo)",
    )
    demo.add_argument(
        "--reranker",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="have a language model rerank for tail users (yes)",
    )
    demo.set_defaults(run=_run_demo)


def _register_evaluate(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    evaluate = subparsers.add_parser(
        "evaluate",
        help="HR@10 and NDCG@10 (RMSE, MAE) of a bundle, offline or through a running service",
        description="Show the figures of a bundle's offline report: each test user's held-out\n"
        "interaction is ranked in the whole catalogue. With --url the service is asked, POST\n"
        "/recommend for every test user, and its figures are put next to the report's; they must\n"
        "be equal to four decimals (exit code 1 if not). Of a bundle of kind rating, held-out\n"
        "ratings are predicted, with --url by POST /ratings. Where callers need a key, it comes\n"
        "from LONGTAIL_CALLER_KEY. With --logged it is told instead what archived answers got:\n"
        "clicks per exposure, and with --bundle an estimate of those that it would have got.",
        epilog="examples:\n"
        "  longtail evaluate --bundle builds/demo/bundle\n"
        "  longtail evaluate --url http://127.0.0.1:8000\n"
        "  longtail evaluate --url http://127.0.0.1:8000 --model ratings\n"
        "  longtail evaluate --url http://127.0.0.1:8000 --rerank --rps 5\n"
        "  longtail evaluate --logged --events events --exposures shown\n"
        "  longtail evaluate --logged --events events --exposures shown --bundle builds/new/bundle",
        formatter_class=_RAW,
    )
    evaluate.add_argument(
        "--bundle",
        type=Path,
        metavar="FOLDER",
        help="the bundle (default: the one that the service serves; without --url, the active one)",
    )
    evaluate.add_argument("--url", help="of a running service")
    evaluate.add_argument(
        "--model",
        metavar="NAME",
        default="default",
        help="name under which the version is active, given in all requests (default: %(default)s)",
    )
    evaluate.add_argument("--json", action="store_true", help="print JSON, for machines")
    evaluate.add_argument(
        "--rerank",
        action="store_true",
        help="with --url: ask for tail users without and with reranking, until all are reranked",
    )
    evaluate.add_argument(
        "--rps",
        type=float,
        metavar="N",
        help="with --url: requests a second, at most; default: one as soon as the last is answered",
    )
    add_logged_flags(evaluate)
    evaluate.set_defaults(run=_run_evaluate)


def _register_benchmark(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    benchmark = subparsers.add_parser(
        "benchmark",
        help="train a grid of recipes on some data sets, with some seeds, and compare them",
        description="Run every cell of a grid (data sets x recipes x seeds) that isn't finished,\n"
        "and write tables and a plot from the ranks of every user. An interrupted run\n"
        "continues where it stopped; the tables are written after each cell.",
        epilog="examples:\n"
        "  longtail benchmark movielens-1m --data movielens-1m=data/ml-1m\n"
        "  longtail benchmark my-grid.toml --out builds/my-grid --results results",
        formatter_class=_RAW,
    )
    benchmark.add_argument("grid", metavar="GRID", help="a grid's name, or a .toml file")
    benchmark.add_argument(
        "--data",
        action="append",
        default=[],
        metavar="NAME=FOLDER",
        help="folder of a data set of the grid; movielens-100k is fetched. May be repeated",
    )
    add_naming_flags(benchmark)
    benchmark.add_argument(
        "--out", type=Path, metavar="FOLDER", help="folder of the trainings (builds/benchmark-GRID)"
    )
    benchmark.add_argument(
        "--results",
        type=Path,
        default=Path("docs/results"),
        metavar="FOLDER",
        help="folder of the tables (docs/results)",
    )
    benchmark.add_argument(
        "--only", metavar="ENTRY", help="train one entry alone, and write no tables"
    )
    benchmark.set_defaults(run=_run_benchmark)


def _register_pretrain_encoder(
    subparsers: argparse._SubParsersAction[argparse.ArgumentParser],
) -> None:
    pretrain = subparsers.add_parser(
        "pretrain-encoder",
        help="tune a text encoder on the behaviour in other data sets",
        description="Tune a text encoder on the training parts of one data set or several: hidden\n"
        "words are predicted, and the next item among those of a batch. Name the\n"
        "encoder's folder in a recipe, as start in [behaviour] or as encoder in [encoding]. An\n"
        "interrupted run continues after its last complete epoch.",
        epilog="examples:\n"
        "  longtail pretrain-encoder --data data/ml-1m --out builds/pretrained\n"
        "  longtail pretrain-encoder --data data/books --data data/sports --epochs 2 "
        "--out builds/pt",
        formatter_class=_RAW,
    )
    pretrain.add_argument(
        "--data",
        action="append",
        required=True,
        metavar="FOLDER",
        help="as --interactions of longtail build; movielens-100k is fetched. May be repeated",
    )
    add_naming_flags(pretrain)
    pretrain.add_argument(
        "--out",
        required=True,
        type=Path,
        metavar="FOLDER",
        help="its encoder/ is the one to name",
    )
    pretrain.add_argument(
        "--encoder",
        metavar="NAME",
        help="to start from: a Hugging Face id or a folder (all-minilm-l6-v2)",
    )
    pretrain.add_argument(
        "--settings",
        metavar="FILE",
        help="a .toml file with keys of PretrainingConfig in offline/behaviour/config.py",
    )
    pretrain.add_argument("--epochs", type=int, metavar="N", help="instead of the settings'")
    pretrain.add_argument("--seed", type=int, metavar="N", help="instead of the settings'")
    pretrain.set_defaults(run=_run_pretrain_encoder)


def _register_publish(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    publish = subparsers.add_parser(
        "publish",
        help="publish a bundle, or what is new about items, for services",
        description="Publish a bundle: its files into the bundles folder, its user features into\n"
        "the store, its record into the registry. Or give the items of a file to running services\n"
        "without retraining or restart: known ones get the attributes that stand there, and are\n"
        "withdrawn or come back by a column `available` (an empty cell changes nothing); new ones\n"
        "are placed by their texts.",
        epilog="examples:\n"
        "  longtail publish --bundle builds/mine/bundle\n"
        "  longtail publish --bundle builds/mine/bundle --activate\n"
        "  longtail publish --bundle builds/mine/bundle --processes 8\n"
        "  longtail publish --items changes.csv\n"
        "  longtail publish --items new.csv --generate",
        formatter_class=_RAW,
    )
    what = publish.add_mutually_exclusive_group(required=True)
    what.add_argument("--bundle", type=Path, metavar="FOLDER", help="bundle to publish")
    what.add_argument(
        "--items",
        "--fresh-items",
        type=Path,
        metavar="FILE",
        help="catalogue of new items, of changes, or of both",
    )
    add_item_naming_flags(publish)
    publish.add_argument(
        "--activate", action="store_true", help="make the published bundle the active version"
    )
    publish.add_argument(
        "--vectors",
        action="store_true",
        help="with --bundle: write the knowledge vectors of the whole catalogue into the store, "
        "for other services (this one reads those of fresh items alone)",
    )
    publish.add_argument(
        "--generate",
        action="store_true",
        help="with --items: have the language model describe each new item first",
    )
    add_engine_flags(publish, "with --bundle; 1")
    publish.set_defaults(run=_run_publish)


def _run_demo(arguments: argparse.Namespace) -> int:
    from offline.demo import demo

    return demo(arguments.out, port=arguments.port, reranker=arguments.reranker, log=_print_line)


def _run_evaluate(arguments: argparse.Namespace) -> int:
    from offline.evaluate.command import evaluate

    if asks_for_logged(arguments):
        return run_logged(arguments)
    return evaluate(
        arguments.bundle,
        url=arguments.url,
        model=arguments.model,
        as_json=arguments.json,
        rerank=arguments.rerank,
        rps=arguments.rps,
    )


def _run_benchmark(arguments: argparse.Namespace) -> int:
    from offline.benchmark.command import benchmark, parse_places

    benchmark(
        arguments.grid,
        parse_places(arguments.data),
        arguments.out or Path("builds") / f"benchmark-{Path(arguments.grid).stem}",
        arguments.results,
        naming=naming_of(arguments),
        only=arguments.only,
        log=_print_line,
    )
    return 0


def _run_pretrain_encoder(arguments: argparse.Namespace) -> int:
    from offline.encoding.config import DEFAULT_ENCODER
    from offline.inputs import find_source
    from offline.pretrain import pretrain_encoder, read_settings

    config = read_settings(arguments.settings, epochs=arguments.epochs, seed=arguments.seed)
    naming = naming_of(arguments)
    sources = [find_source(place, None, None, naming) for place in arguments.data]
    encoder = arguments.encoder or DEFAULT_ENCODER
    pretrain_encoder(sources, encoder, config, arguments.out, log=_print_line)
    return 0


def _run_publish(arguments: argparse.Namespace) -> int:
    from model_store.errors import ConfigError
    from offline.publish import publish_bundle, publish_items

    if arguments.bundle:
        for flag in ("generate", *ITEM_NAMING_FLAGS):
            if getattr(arguments, flag):
                name = flag.replace("_", "-")
                raise ConfigError(f"--{name} goes with --items, not with --bundle")
        publish_bundle(
            arguments.bundle,
            activate=arguments.activate,
            vectors=arguments.vectors,
            engine=_publishing_engine(arguments),
            log=_print_line,
        )
    else:
        for flag in ("activate", "vectors", "engine", "processes"):
            if getattr(arguments, flag) not in (None, False, LOCAL):
                raise ConfigError(f"--{flag} goes with --bundle, not with --items")
        publish_items(
            arguments.items,
            naming=naming_of(arguments).items,
            generate=arguments.generate,
            log=_print_line,
        )
    return 0


def _publishing_engine(arguments: argparse.Namespace) -> Engine | None:
    """None where this process publishes, as without --engine and --processes."""
    if arguments.engine == LOCAL and arguments.processes in (None, 1):
        return None
    return open_engine(arguments.engine, arguments.processes)


def _print_line(line: str) -> None:
    print(line, flush=True)
