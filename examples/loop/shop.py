"""A shop's operator: a store, a service on it, and the commands that a cron would run."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from longtail_client import Client

RECIPE = """\
description = "SASRec over ids alone, small enough to be refreshed in seconds"

[knowledge]
model = "none"

[encoding]
encoder = "none"

[recommender]
embedding_size = 32
max_length = 20
layers = 1
id_init = "random"
knowledge_beside_ids = false
dropout = 0.2

[training]
epochs = 30
patience = 5
batch_size = 32
learning_rate = 0.005
warm_up_steps = 10
"""
START_S = 60.0
END_S = 30.0


class ShopError(Exception):
    """A command of the shop's failed; the message is one line that names its log."""


@dataclass(frozen=True)
class Shop:
    """A folder with a store, bundles, a build and archives of its own.

    Attributes:
        folder: for all of it.
        seed: of the training.
        explore: share of the answers whose ranks are drawn at random.
    """

    folder: Path
    seed: int
    explore: float = 0.0

    @property
    def interactions(self) -> Path:
        """What people did before there was a service."""
        return self.folder / "interactions.csv"

    @property
    def items(self) -> Path:
        """The catalogue."""
        return self.folder / "items.csv"

    @property
    def archives(self) -> tuple[Path, Path]:
        """Of events, and of what was shown."""
        return self.folder / "events", self.folder / "exposures"

    @property
    def bundle(self) -> Path:
        """Of the build."""
        return self.folder / "build" / "bundle"

    def build(self, n_items: int, rows: Sequence[tuple[str, str, float]]) -> None:
        """Build the first version on what people did before: users, items, seconds since 1970."""
        self.folder.mkdir(parents=True)
        lines = [f"{user},{item},{seconds:.0f}" for user, item, seconds in rows]
        self.interactions.write_text("\n".join(["user_id,item_id,timestamp", *lines, ""]))
        lines = [f"i{number},Thing {number}" for number in range(n_items)]
        self.items.write_text("\n".join(["item_id,title", *lines, ""]))
        (self.folder / "recipe.toml").write_text(RECIPE)
        flags = ("--recipe", str(self.folder / "recipe.toml"), "--seed", str(self.seed), "--refit")
        self._command("build", *self._data, *flags)

    @contextmanager
    def service(self, bundle: Path) -> Iterator[Client]:
        """A service that begins with a bundle, while the context lasts."""
        self.folder.mkdir(parents=True, exist_ok=True)
        port = _free_port()
        flags = ("--bundle", str(bundle), "--port", str(port))
        log = self.folder / "serve.log"
        with log.open("w") as output, self._start("serve", *flags, output=output) as process:
            try:
                _await_ready_line(process, log)
                with Client(f"http://127.0.0.1:{port}", timeout_s=60) as client:
                    yield client
            finally:
                process.terminate()
                try:
                    process.wait(END_S)
                except subprocess.TimeoutExpired:
                    process.kill()

    def archive(self) -> None:
        """Move what is in the logs into the archives."""
        events, exposures = self.archives
        self._command(
            *("events", "archive", "--once", "--out", str(events), "--exposures", str(exposures))
        )

    def refresh(self, margin: float) -> dict[str, Any]:
        """Refresh once, where a loss of a margin is ruled out; answers the report."""
        events, exposures = self.archives
        archives = ("--events", str(events), "--exposures", str(exposures))
        self._command("refresh", *self._data, *archives, "--promote", "--margin", str(margin))
        newest = max((self.folder / "build" / "refresh" / "runs").glob("*/report.json"))
        report: dict[str, Any] = json.loads(newest.read_text())
        return report

    @property
    def _data(self) -> tuple[str, ...]:
        files = ("--interactions", str(self.interactions), "--items", str(self.items))
        return (*files, "--out", str(self.folder / "build"))

    def _command(self, *arguments: str) -> None:
        with (
            (self.folder / "commands.log").open("a+") as output,
            self._start(*arguments, output=output) as process,
        ):
            if process.wait():
                raise ShopError(f"longtail {arguments[0]} failed: see {output.name}")

    def _start(self, *arguments: str, output: Any) -> subprocess.Popen[str]:
        others = {k: v for k, v in os.environ.items() if not k.startswith("LONGTAIL_")}
        environment = others | {
            "LONGTAIL_STORE_DIR": str(self.folder / "store"),
            "LONGTAIL_BUNDLES_DIR": str(self.folder / "bundles"),
            "LONGTAIL_EXPOSURE_SHARE": "1",
            "LONGTAIL_EXPLORE_SHARE": str(self.explore),
            "LONGTAIL_EXPLORE_RANKS": "5",
            "LONGTAIL_EXPLORE_TEMPERATURE": "0.5",
            # Other work on the machine must not make answers that lack a history.
            "LONGTAIL_STORE_TIMEOUT_MS": "5000",
        }
        return subprocess.Popen(
            [sys.executable, "-m", "longtail", *arguments],
            env=environment,
            stdout=subprocess.PIPE if arguments[0] == "serve" else output,
            stderr=output,
            text=True,
        )


def _await_ready_line(process: subprocess.Popen[str], log: Path) -> None:
    # The line is empty where the process has ended.
    if process.stdout is None or not process.stdout.readline():
        raise ShopError(f"longtail serve failed: see {log}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
