"""How many users a second one process publishes, and how many events a second it archives.

`python -m tests.end_to_end.pace_of_jobs --users 100000 --events 200000` measures the commands
`longtail publish` and `longtail events archive` on a store of its own, in CPU seconds of the
command and all that it starts; the store's own come apart. Starting the command is not counted:
what it takes for next to no users and events is subtracted.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil

from model_store.bundle import Bundle
from model_store.codecs import Event, encode_all_arrived
from model_store.embedded import EmbeddedStore
from model_store.event_log import log_command
from model_store.store import connect
from offline.synthetic.__main__ import make
from tests.app.running import LONGTAIL
from tests.end_to_end.recommend_all_speed import make_users

FEW = 10
N_ITEMS = 3_700
EVENTS_OF_A_REQUEST = 2
_AT_ONCE = 5_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=100_000)
    parser.add_argument("--events", type=int, default=200_000)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = make(
            N_ITEMS, 0, folder / "made", trained=False, knowledge=False, exact_up_to=N_ITEMS
        )
        made = Bundle.open(path)
        few, many = (
            published(make_users(made, n, folder / f"users-{n}"), folder)
            for n in (FEW, chosen.users)
        )
        print_pace("published_users_s", chosen.users - FEW, few, many)
        few, many = (archived(n, folder) for n in (FEW, chosen.events))
        print_pace("archived_events_s", chosen.events - FEW, few, many)


def print_pace(name: str, n: int, few: tuple[float, float], many: tuple[float, float]) -> None:
    """CPU seconds of command and store, for few and for many."""
    command_s, store_s = (after - before for before, after in zip(few, many, strict=True))
    print(json.dumps({name: round(n / command_s), "store": round(n / store_s)}), flush=True)


def published(bundle: Bundle, folder: Path) -> tuple[float, float]:
    """CPU seconds of `longtail publish`, and of the store."""
    with EmbeddedStore(folder / f"store-{bundle.manifest.n_users}", fsync="everysec") as store:
        return timed(store, ["publish", "--bundle", str(bundle.folder)], folder / "bundles")


def archived(n_events: int, folder: Path) -> tuple[float, float]:
    """The same of `longtail events archive` for so many events in the log."""
    with EmbeddedStore(folder / f"log-{n_events}", fsync="everysec") as store:
        with connect(store.url) as client:
            pipe = client.pipeline(transaction=False)
            for number in range(0, n_events, EVENTS_OF_A_REQUEST):
                user_id, now_s = f"u{number % 5_000}", 1_700_000_000.0 + number / 100
                events = [
                    Event(item_id=f"i{(number + one) % N_ITEMS}", timestamp=now_s + one)
                    for one in range(EVENTS_OF_A_REQUEST)
                ]
                members = encode_all_arrived(events, int(now_s * 1e6))
                pipe.execute_command(*log_command(user_id, members, 10 * n_events))
                if number % _AT_ONCE == 0:
                    pipe.execute()
            pipe.execute()
        arguments = ["events", "archive", "--once", "--out", str(folder / f"archive-{n_events}")]
        return timed(store, arguments, folder / "bundles")


def timed(store: EmbeddedStore, arguments: list[str], bundles: Path) -> tuple[float, float]:
    """CPU seconds of a command with its children, and of the store meanwhile."""
    environment = {
        **os.environ,
        "LONGTAIL_REDIS_URL": store.url,
        "LONGTAIL_BUNDLES_DIR": str(bundles),
    }
    server = psutil.Process(store.pid)
    before, store_before = children_s(), sum(server.cpu_times()[:2])
    subprocess.run(
        [sys.executable, str(LONGTAIL), *arguments],
        env=environment,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return children_s() - before, sum(server.cpu_times()[:2]) - store_before


def children_s() -> float:
    """CPU seconds of this process's children that have ended."""
    times = os.times()
    return times.children_user + times.children_system


if __name__ == "__main__":
    main()
