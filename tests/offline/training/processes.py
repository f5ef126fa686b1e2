"""Two processes that train together, as torchrun would start them."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch

from offline.training.group import Group, within

SIZE = 2
TIMEOUT_S = 120
_PRELOADED = "tests.offline.training.group_children"


def start(function: Callable[..., None], folder: Path, *arguments: Any) -> list[BaseProcess]:
    """Processes that call `function(rank, folder, *arguments)` in one group.

    They are children of a process of their own that has torch loaded: loading takes seconds.
    """
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload([_PRELOADED])
    folder.mkdir(parents=True, exist_ok=True)
    store = folder / "store"
    store.unlink(missing_ok=True)
    children = [
        processes.Process(target=_work, args=[rank, store, function, folder, *arguments])
        for rank in range(SIZE)
    ]
    for child in children:
        child.start()
    return list(children)


def join(children: list[BaseProcess], *, killed: bool = False) -> None:
    """Wait for the end of all; each ends well, or was killed."""
    for child in children:
        child.join(TIMEOUT_S)
        assert child.exitcode == (-signal.SIGKILL if killed else 0), child


def _work(
    rank: int, store: Path, function: Callable[..., None], folder: Path, *arguments: Any
) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{store}", rank=rank, world_size=SIZE
    )
    with within(Group(rank, SIZE)):
        function(rank, folder, *arguments)
    torch.distributed.destroy_process_group()
