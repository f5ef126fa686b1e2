"""Tries the loop on a data set with times: its older part to build on, its newer part as events.

python -m offline.refresh.replay split movielens-100k builds/loop
python -m offline.refresh.replay send builds/loop --url http://127.0.0.1:8000
python -m offline.refresh.replay ask builds/loop --url http://127.0.0.1:8000 --seconds 60
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from model_store.admin_api import service_url
from model_store.errors import InputError, LongtailError
from model_store.flag_values import up_to
from offline.data.dataset import Dataset, read_dataset
from offline.evaluate.caller_key import caller_headers
from offline.inputs import find_source
from offline.progress import Progress

INTERACTIONS, ITEMS, EVENTS = "interactions.csv", "items.parquet", "events.jsonl"
_AT_ONCE = 100


def split(name: str, folder: Path, newest: float) -> None:
    """Write interactions and items to build on, and the newest interactions as events.

    Items that only the newest interactions name are left out of the items, as if they came later.

    Args:
        name: a path of interactions, or movielens-100k.
        folder: for the three files.
        newest: share of the interactions that become events.
    """
    source = find_source(name, None, None)
    data = read_dataset(source.interactions, source.items, source.naming)
    rows = _rows(data)
    cut = rows["timestamp"].quantile(1 - newest, "higher")
    older, newer = rows.filter(pl.col("timestamp") < cut), rows.filter(pl.col("timestamp") >= cut)
    folder.mkdir(parents=True, exist_ok=True)
    older.write_csv(folder / INTERACTIONS)
    known, named = set(older["item_id"]), set(newer["item_id"])
    items = _items(data).filter(~pl.col("item_id").is_in(list(named - known)))
    items.write_parquet(folder / ITEMS)
    with (folder / EVENTS).open("w") as file:
        for number, row in enumerate(newer.iter_rows(named=True)):
            event = {key: value for key, value in row.items() if value is not None}
            file.write(json.dumps({**event, "event_id": f"replayed-{number}"}) + "\n")
    print(
        f"{len(older):,} interactions and {len(items):,} items to build on, {len(newer):,} events "
        f"of {newer['user_id'].n_unique():,} users, with {len(named - known):,} new items"
    )


def send(folder: Path, url: str) -> None:
    """Send the events to a service, in order of time."""
    events = [json.loads(line) for line in (folder / EVENTS).read_text().splitlines()]
    with Progress("sending events", len(events), "event") as progress:
        for start in range(0, len(events), _AT_ONCE):
            some = events[start : start + _AT_ONCE]
            _post(f"{url}/events", {"events": some})
            progress.advance(len(some))


def ask(folder: Path, url: str, seconds: float) -> None:
    """Ask for recommendations for one user after another, for a while."""
    users = pl.read_csv(folder / INTERACTIONS, schema_overrides={"user_id": pl.String})["user_id"]
    names = users.unique(maintain_order=True).to_list()
    versions: dict[str, int] = {}
    until = time.monotonic() + seconds
    for user_id in itertools.takewhile(lambda _: time.monotonic() < until, itertools.cycle(names)):
        version = _post(f"{url}/recommend", {"user_id": user_id})["model_version"]
        versions[version] = versions.get(version, 0) + 1
    print(", ".join(f"{n:,} answers by {version}" for version, n in sorted(versions.items())))


def _rows(data: Dataset) -> pl.DataFrame:
    """All interactions by time."""
    found = data.interactions
    users = np.repeat(np.arange(found.n_users), np.diff(found.offsets))
    columns: dict[str, Any] = {
        "user_id": [found.user_ids[user] for user in users.tolist()],
        "item_id": [found.item_ids.id_of(item) for item in found.items.tolist()],
        "timestamp": found.timestamps.astype(np.int64),
    }
    if found.ratings is not None:
        columns["rating"] = found.ratings
    return pl.DataFrame(columns).sort("timestamp", maintain_order=True)


def _items(data: Dataset) -> pl.DataFrame:
    columns: dict[str, Any] = {"item_id": data.interactions.item_ids.ids}
    for name in data.attributes.names:
        attribute = data.attributes.get(name)
        columns[name] = [] if attribute is None else list(attribute.values)
    return pl.DataFrame(columns)


def _post(url: str, body: dict[str, Any]) -> dict[str, Any]:
    headers = {"Content-Type": "application/json", **caller_headers()}
    request = urllib.request.Request(  # noqa: S310 - `service_url` has checked the scheme
        url, json.dumps(body).encode(), headers
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310
            document: dict[str, Any] = json.load(response)
            return document
    except (OSError, ValueError) as error:
        raise InputError(f"{url}: {getattr(error, 'reason', error)}") from error


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m offline.refresh.replay",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(dest="action", required=True)
    splitting = actions.add_parser("split", help="write files to build on, and events")
    splitting.add_argument("data", help="interactions with times, or movielens-100k")
    sending = actions.add_parser("send", help="send the events to a service")
    asking = actions.add_parser("ask", help="ask a service for recommendations, for a while")
    for action in (splitting, sending, asking):
        action.add_argument("folder", type=Path, help="of the files")
    splitting.add_argument("--newest", type=_share, default=0.2, help="share of events (0.2)")
    for action in (sending, asking):
        action.add_argument("--url", required=True, help="of the service")
    asking.add_argument("--seconds", type=up_to(), default=60, help="how long (60)")
    return parser


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = 0.0
    if not 0 < share < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number between 0 and 1")
    return share


def main(argv: Sequence[str] | None = None) -> int:
    """Run one of the actions."""
    arguments = _parser().parse_args(argv)
    try:
        if arguments.action == "split":
            split(arguments.data, arguments.folder, arguments.newest)
        elif arguments.action == "send":
            send(arguments.folder, service_url(arguments.url))
        else:
            ask(arguments.folder, service_url(arguments.url), arguments.seconds)
    except (LongtailError, OSError) as error:
        print(f"replay: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
