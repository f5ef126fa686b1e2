"""The engine that a command line names."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from model_store.errors import ConfigError
from model_store.flag_values import up_to

if TYPE_CHECKING:
    from offline.engine.work import Engine

LOCAL, RAY = "local", "ray"


def add_engine_flags(parser: argparse.ArgumentParser, default: str) -> None:
    """Add where the command computes.

    Args:
        parser: of the command.
        default: number of processes of this machine, for people.
    """
    parser.add_argument(
        "--engine",
        choices=(LOCAL, RAY),
        default=LOCAL,
        help="compute on this machine, or on the Ray cluster at RAY_ADDRESS; where that is unset, "
        "on one that is started here (local)",
    )
    parser.add_argument(
        "--processes",
        type=up_to(1_024),
        metavar="N",
        help=f"that compute ({default}; of Ray one for each core of this machine)",
    )


def open_engine(name: str, processes: int | None) -> Engine:
    """The engine with that name.

    Args:
        name: LOCAL or RAY.
        processes: that compute at a time; None: one for each core of this machine.

    Raises:
        ConfigError: it isn't installed.
    """
    from offline.engine.local import LocalEngine, count_cores

    processes = processes or count_cores()
    if name == LOCAL:
        return LocalEngine(processes)
    try:
        import ray.data  # noqa: F401
    except ModuleNotFoundError as error:
        package = (error.name or "ray").partition(".")[0]
        raise ConfigError(
            f"--engine ray: the package {package!r} is not installed; "
            "`pip install 'longtail[ray]'` installs it"
        ) from None
    from offline.engine.on_ray import RayEngine

    return RayEngine(processes)
