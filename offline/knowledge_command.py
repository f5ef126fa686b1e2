"""`longtail knowledge`: texts about items. Heavy imports wait for a command."""

from __future__ import annotations

import argparse
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

from offline.source_flags import add_item_naming_flags, naming_of

if TYPE_CHECKING:
    from model_store.bundle import Bundle
    from model_store.fresh_items import FreshItem
    from model_store.knowledge_texts import KnowledgeText
    from offline.item_description import ItemDescription

_RAW = argparse.RawDescriptionHelpFormatter
_WIDTH, _LABEL_WIDTH = 100, 10


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `longtail knowledge`."""
    knowledge = subparsers.add_parser(
        "knowledge",
        help="show what a language model wrote about an item, or have it describe new ones",
        description="What a language model wrote about items, which their knowledge vectors come\n"
        "from.",
        epilog="examples:\n"
        "  longtail knowledge show 50\n"
        "  longtail knowledge refresh --items new.csv",
        formatter_class=_RAW,
    )
    actions = knowledge.add_subparsers(dest="action", required=True, metavar="ACTION")
    _register_show(actions)
    _register_refresh(actions)


def _register_show(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    show = actions.add_parser(
        "show",
        help="an item's text and where it comes from, its vector, and the nearest items",
        description="Show what a language model wrote about an item, which model and prompt wrote\n"
        "it and when, the length of the item's knowledge vector, and the five items with the\n"
        "nearest vectors. Of the active version, fresh items included, or of a bundle.",
        epilog="examples:\n"
        "  longtail knowledge show 50\n"
        "  longtail knowledge show 50 --bundle builds/demo/bundle",
        formatter_class=_RAW,
    )
    show.add_argument("item", metavar="ITEM", help="id of the item")
    show.add_argument(
        "--bundle",
        type=Path,
        metavar="FOLDER",
        help="a bundle (default: that of the active version, with its fresh items)",
    )
    show.set_defaults(run=_run_show)


def _register_refresh(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    refresh = actions.add_parser(
        "refresh",
        help="describe and publish the items of a catalogue that came after training",
        description="Find the items of a catalogue file that the published versions don't know\n"
        "yet. Have the language model of the active version describe them, encode the texts, and\n"
        "put texts and vectors into the store, where running services find them within a second.\n"
        "An interrupted run continues where it stopped.",
        epilog="examples:\n  longtail knowledge refresh --items items.csv",
        formatter_class=_RAW,
    )
    refresh.add_argument(
        "--items",
        type=Path,
        required=True,
        metavar="FILE",
        help="the catalogue: new items, or all of them",
    )
    add_item_naming_flags(refresh)
    refresh.set_defaults(run=_run_refresh)


def _run_show(arguments: argparse.Namespace) -> int:
    from model_store.bundle import Bundle
    from offline.item_description import describe_item

    fresh: list[FreshItem] = []
    if arguments.bundle is not None:
        bundle = Bundle.open(arguments.bundle, verify=False)
    else:
        bundle, fresh = _read_active()
    for line in _lines(describe_item(arguments.item, bundle, fresh)):
        print(line)
    return 0


def _read_active() -> tuple[Bundle, list[FreshItem]]:
    """The bundle of the active version, and its fresh items.

    Raises:
        InputError: no version is active.
    """
    from model_store.embedded import running_store
    from model_store.errors import InputError
    from model_store.fresh_items import read_fresh
    from model_store.publication import open_active
    from model_store.store import connect
    from model_store.store_url import store_url_from

    with running_store(store_url_from()) as url:
        client = connect(url)
        bundle = open_active(client)
        if bundle is None:
            raise InputError("no version is active; name a bundle with --bundle")
        encoder = bundle.manifest.encoder
        return bundle, read_fresh(bundle.version, encoder.vector_size, client) if encoder else []


def _lines(item: ItemDescription) -> list[str]:
    """For people: a label and what it names, a line each; texts over several lines."""
    found = {
        "item": f"{item.item_id}  {item.title}".rstrip(),
        "version": item.version + (", fresh item" if item.is_fresh else ""),
        "text": item.knowledge.text if item.knowledge else "none",
        "written": _provenance(item.knowledge) if item.knowledge else "",
        "vector": f"{item.vector_size} numbers, length {item.vector_length:.3f}"
        if item.vector_size
        else "none: the version has no knowledge vectors",
    }
    lines = [part for label, value in found.items() if value for part in _labelled(label, value)]
    for near in item.near:
        lines += _labelled("near", f"{near.cosine:.3f}  {near.item_id}  {near.title}".rstrip())
    return lines


def _provenance(knowledge: KnowledgeText) -> str:
    source = knowledge.source
    when = "on a day that wasn't recorded" if knowledge.made_on is None else knowledge.made_on
    aligned = "aligned" if source.aligned else "not aligned"
    return f"{when} by {source.model}, prompt {source.prompt}, {aligned}"


def _labelled(label: str, value: str) -> list[str]:
    return textwrap.wrap(
        value,
        _WIDTH,
        initial_indent=f"{label:{_LABEL_WIDTH}}",
        subsequent_indent=" " * _LABEL_WIDTH,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _run_refresh(arguments: argparse.Namespace) -> int:
    from offline.publish import publish_fresh_items

    publish_fresh_items(
        arguments.items, naming=naming_of(arguments).items, generate=True, log=_print_line
    )
    return 0


def _print_line(line: str) -> None:
    print(line, flush=True)
