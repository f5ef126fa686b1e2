"""`longtail bundle push` and `pull`: bundles in a Hugging Face hub, in MLflow, or in a folder."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

_RAW = argparse.RawDescriptionHelpFormatter
_PLACE = "hf://OWNER/NAME[@REVISION], mlflow:NAME[/VERSION], mlflow:NAME@ALIAS, or a folder"


def register(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add them to the actions of `longtail bundle`."""
    push = actions.add_parser(
        "push",
        help="write a bundle to a registry, with a model card",
        description="Check a bundle, and write it with a card (README.md) to a Hugging Face\n"
        "repository, to MLflow's registry, or to a folder in a repository's layout.\n"
        "HF_TOKEN and MLFLOW_TRACKING_URI are read by their clients.",
        epilog="examples:\n"
        "  longtail bundle push builds/mine/bundle hf://shop/recommender\n"
        "  longtail bundle push builds/mine/bundle mlflow:recommender@champion\n"
        "  longtail bundle push builds/mine/bundle exported",
        formatter_class=_RAW,
    )
    push.add_argument("bundle", type=Path, metavar="BUNDLE", help="its folder")
    push.add_argument("place", metavar="PLACE", help=_PLACE)
    push.add_argument(
        "--public",
        action="store_true",
        help="also to a repository that everybody can read: a bundle may hold users' histories",
    )
    push.add_argument("--json", action="store_true", help="print JSON, for machines")
    push.set_defaults(run=_run_push)
    pull = actions.add_parser(
        "pull",
        help="fetch a bundle from there, and verify it",
        description="Fetch a bundle into a folder of its version, and compare every file with its\n"
        "sha256. With --trust, or LONGTAIL_BUNDLE_SIGNATURES=required, it must be signed.",
        epilog="examples:\n"
        "  longtail bundle pull hf://shop/recommender@2026-12-01-1 --out bundles\n"
        '  longtail bundle pull mlflow:recommender@champion --trust "$(cat release.key.pub)"\n'
        "  longtail publish --bundle bundles/2026-12-01-1",
        formatter_class=_RAW,
    )
    pull.add_argument("place", metavar="PLACE", help=_PLACE)
    pull.add_argument(
        "--out",
        type=Path,
        default=Path("bundles"),
        metavar="FOLDER",
        help="gets a folder named by the version (default: %(default)s)",
    )
    pull.add_argument(
        "--trust",
        metavar="KEYS",
        help="public keys, separated by commas, one of which must have signed it",
    )
    pull.add_argument("--json", action="store_true", help="print JSON, for machines")
    pull.set_defaults(run=_run_pull)


def _run_push(arguments: argparse.Namespace) -> int:
    from model_store.bundle import Bundle
    from model_store.exchange.transfer import push, read_place
    from model_store.signatures import trust_from

    place = read_place(arguments.place, public=arguments.public)
    bundle = Bundle.open(arguments.bundle)
    print(f"pushing version {bundle.version} to {place}", file=sys.stderr, flush=True)
    pushed = push(bundle, place, trust_from())
    if arguments.json:
        changed = {"new": not pushed.was_there, "got_signature": pushed.got_signature}
        print(json.dumps({"version": bundle.version, "place": pushed.where, **changed}))
    else:
        what = "is there already" if pushed.was_there else "is there now"
        if pushed.got_signature:
            what = "was there already, and has this signature now"
        print(f"version {bundle.version} {what}: {pushed.where}")
    return 0


def _run_pull(arguments: argparse.Namespace) -> int:
    from model_store.errors import ConfigError
    from model_store.exchange.transfer import pull, read_place
    from model_store.signatures import Trust, read_keys, trust_from

    try:
        trust = trust_from()
        if arguments.trust is not None:
            trust = Trust(read_keys(arguments.trust), is_required=True)
    except ValueError as error:
        raise ConfigError(f"--trust {arguments.trust!r}: {error}") from None
    place = read_place(arguments.place)
    print(f"pulling {place}", file=sys.stderr, flush=True)
    bundle = pull(place, arguments.out, trust)
    n_files = len(bundle.manifest.files)
    if arguments.json:
        document = {"version": bundle.version, "folder": str(bundle.folder), "files": n_files}
        print(json.dumps(document))
    else:
        signed = " and signed with a trusted key" if trust.is_required else ""
        print(f"version {bundle.version}: {n_files} files as in the manifest{signed}")
        print(bundle.folder)
    return 0
