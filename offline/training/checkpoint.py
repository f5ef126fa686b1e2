"""The state of a training run in one file, written atomically.

safetensors for the tensors, JSON in its header for the rest: nothing in it is executable. The
state of random generators is kept within epochs only, since each seeds its own from (seed, epoch).
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from offline.training.sharded import ShardedRows

_STATE = "state"


def save_checkpoint(path: Path, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
    """Write tensors and a JSON-able state, atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        kept = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        save_file(kept, partial, metadata={_STATE: json.dumps(state)})
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def load_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Read what `save_checkpoint` wrote; None where there is no readable checkpoint."""
    try:
        with safe_open(path, framework="pt") as file:
            state = json.loads((file.metadata() or {})[_STATE])
            return {name: file.get_tensor(name) for name in file.keys()}, state  # noqa: SIM118
    except (OSError, SafetensorError, KeyError, ValueError):
        return None


def gather_tensors(
    network: torch.nn.Module, optimizer: torch.optim.Optimizer, best: dict[str, Tensor]
) -> dict[str, Tensor]:
    """Weights, optimizer moments and best weights under names `restore_tensors` reads.

    All processes of a group call it. Of a table that they shard the first one gets the whole, so
    that a checkpoint is the same for any number of processes.
    """
    tensors = {f"network/{name}": tensor for name, tensor in network.state_dict().items()}
    tensors |= {f"best/{name}": tensor for name, tensor in best.items()}
    for number, moments in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer/{number}/{name}": tensor for name, tensor in moments.items()}
    for name, rows in _sharded(network, optimizer).items():
        if name in tensors:
            tensors[name] = rows.join(tensors[name], everywhere=False)
    return tensors


def _sharded(network: torch.nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, ShardedRows]:
    """The rows that this process keeps of each sharded table, by the name of what goes with it."""
    sharded: dict[str, ShardedRows] = {}
    for name, parameter in network.named_parameters():
        if isinstance(parameter, ShardedRows):
            sharded |= {f"network/{name}": parameter, f"best/{name}": parameter}
    trained = [one for group in optimizer.param_groups for one in group["params"]]
    for number, parameter in enumerate(trained):
        if isinstance(parameter, ShardedRows):
            moments = ("exp_avg", "exp_avg_sq")
            sharded |= {f"optimizer/{number}/{name}": parameter for name in moments}
    return sharded


def restore_tensors(
    tensors: dict[str, Tensor], network: torch.nn.Module, optimizer: torch.optim.Optimizer
) -> dict[str, dict[str, Tensor]]:
    """Put weights and moments back where they were; returns the other parts, `best` and more."""
    parts: dict[str, dict[str, Tensor]] = {}
    moments: dict[int, dict[str, Tensor]] = {}
    sharded = _sharded(network, optimizer)
    for name, whole in tensors.items():
        tensor = sharded[name].own(whole) if name in sharded else whole
        part, _, rest = name.partition("/")
        if part == "optimizer":
            number, _, moment = rest.partition("/")
            moments.setdefault(int(number), {})[moment] = tensor
        else:
            parts.setdefault(part, {})[rest] = tensor
    network.load_state_dict(parts.pop("network"))
    optimizer.load_state_dict({**optimizer.state_dict(), "state": moments})
    return parts
