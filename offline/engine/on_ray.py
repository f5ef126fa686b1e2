"""Work on Ray: the cluster at RAY_ADDRESS, or one of this machine that ends with the work.

What goes through Ray are names of files. Batches and results are Parquet files in a folder that
all its machines see, so no object in Ray's store is larger than a few hundred bytes, and results
that are there stay, whatever becomes of the cluster.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model_store.errors import LongtailError
from offline.engine.local import ONE_THREAD, EngineError, environment
from offline.engine.work import Compute, Device, Part, Work

# The least that Ray accepts; names need no more.
_OBJECT_STORE_BYTES = 80 * 1024**2


@dataclass(frozen=True)
class RayEngine:
    """An `Engine` on Ray Data.

    Attributes:
        workers: actors that compute at a time, on one core or one CUDA device each.
    """

    workers: int

    def describe(self) -> str:
        """See `Engine.describe`."""
        return f"workers of Ray: {self.workers}"

    def run(self, work: Work, parts: Iterable[Part]) -> Iterator[Part]:
        """See `Engine.run`; all sources are written before the first part is computed."""
        waiting = {str(part.target.resolve()): part for part in parts}
        if not waiting:
            return
        rows = [
            {"source": str(part.source.resolve()), "target": name, "n_rows": part.n_rows}
            for name, part in waiting.items()
        ]
        with connected(self.workers) as data:
            place, n_actors = self._place(work.device)
            done = data.from_items(rows, override_num_blocks=len(rows)).map_batches(
                _Worker,
                fn_constructor_args=(work,),
                batch_size=1,
                compute=data.ActorPoolStrategy(size=min(n_actors, len(rows))),
                **place,
            )
            with _ray_errors():
                for row in done.iter_rows():
                    if row["issue"]:
                        raise LongtailError(row["issue"])
                    yield waiting[row["target"]]

    def _place(self, device: Device) -> tuple[dict[str, int], int]:
        """What each actor is given, and how many actors there are.

        Raises:
            EngineError: the work needs a CUDA device, and the cluster has none.
        """
        import ray

        n_devices = 0 if device == "cpu" else int(ray.cluster_resources().get("GPU", 0))
        if n_devices:
            return {"num_gpus": 1}, min(self.workers, n_devices)
        if device == "cuda":
            raise EngineError("the work is for a CUDA device, and the Ray cluster has none")
        return {"num_cpus": 1}, self.workers


class _Worker:
    """An actor that has the work open; Ray makes it once for each of its processes."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._compute: Compute | None = None

    def __call__(self, batch: Mapping[str, Any]) -> Mapping[str, Any]:
        """Run a part; an error that a person can fix comes back as its line."""
        [source], [target], [n_rows] = batch["source"], batch["target"], batch["n_rows"]
        issue = ""
        try:
            self._compute = self._compute or self._work.open()
            Part(Path(source), Path(target), int(n_rows)).run(self._compute)
        except LongtailError as error:
            issue = str(error)
        return {"target": batch["target"], "issue": [issue]}


@contextmanager
def connected(workers: int) -> Iterator[Any]:
    """ray.data, on a cluster; within, further uses share it, and one that was started ends after.

    Args:
        workers: cores of a cluster that is started on this machine, as RAY_ADDRESS names none.

    Raises:
        EngineError: there is no cluster.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray
    import ray.data

    was_there = ray.is_initialized()
    if not was_there:
        _start(ray, workers)
    # What it logs about itself; errors come as exceptions.
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False  # shown by `run_missing`
    context.print_on_execution_start = False
    try:
        yield ray.data
    finally:
        if not was_there:
            ray.shutdown()


def _start(ray: Any, workers: int) -> None:
    options: dict[str, Any] = {}
    if "RAY_ADDRESS" not in os.environ:
        options = {
            "address": "local",
            "num_cpus": workers,
            "object_store_memory": _OBJECT_STORE_BYTES,
            "include_dashboard": False,
        }
    # Processes of a cluster on this machine inherit them.
    variables = {**ONE_THREAD, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    variables["RAY_BACKEND_LOG_LEVEL"] = "fatal"  # else it writes what it is about on stderr
    try:
        with environment(variables):
            ray.init(**options, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, OSError, RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise EngineError(f"Ray can't be used: {reason}") from error


@contextmanager
def _ray_errors() -> Iterator[None]:
    """Turn Ray's account of lost work, of many lines, into one."""
    from ray.exceptions import RayError

    try:
        yield
    except RayError as error:
        # The error itself stands at the end of the first traceback in it.
        lines = [line for line in str(error).splitlines() if line and not line.startswith(" ")]
        raise EngineError(f"Ray lost the work: {lines[-1] if lines else error!r}") from error
