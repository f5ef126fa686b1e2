"""Processes that train one model together: each computes its part of every batch.

`torchrun` starts them (torch.distributed: gloo between CPUs, NCCL between GPUs). Every process
holds the whole model, draws the same batch with the same random numbers, and reads its part of the
rows; what they read is exchanged, so that every process has the whole batch's vectors. Each then
computes its share of the loss, and the shares' gradients are added up: the step of one process, at
any number of them.

A process is alone unless it runs `within` a group. torch is imported by those who aren't.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from model_store.errors import ConfigError, LongtailError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Rows = npt.NDArray[np.int64]

# Others wait while the first process does what one process does, such as asking a language model.
# When a process ends, torchrun ends the others.
_MAX_WAIT = timedelta(days=7)
# Gradients of fewer numbers than this are sent together.
_SMALL = 1 << 20


class GroupError(LongtailError):
    """Another process was lost; what is in checkpoints stays."""


@dataclass(frozen=True)
class Group:
    """Processes, as one of them sees them.

    Attributes:
        rank: number of this process, from 0; the first one alone writes files.
        size: number of processes.
    """

    rank: int
    size: int

    @property
    def leads(self) -> bool:
        """Whether this is the first process."""
        return self.rank == 0

    def part_of(self, n_rows: int) -> slice:
        """This process's part of so many rows, one after the other; empty where they are few."""
        share = -(-n_rows // self.size)
        return slice(min(self.rank * share, n_rows), min((self.rank + 1) * share, n_rows))

    def gather(self, compute: Callable[[Rows], Tensor], n_rows: int) -> Tensor:
        """What all processes compute, each for its part of the rows.

        Args:
            compute: from row numbers int64 [R] to a tensor [R, ...].
            n_rows: of all parts together.

        Returns:
            [n_rows, ...], the same in all processes. Its gradients of all of them are added up.
        """
        from offline.training.gathering import Gathered

        # Parts are of one size. A row beyond the last is the last again, and is dropped.
        share = -(-n_rows // self.size)
        rows = np.minimum(np.arange(self.rank * share, (self.rank + 1) * share), n_rows - 1)
        gathered: Tensor = Gathered.apply(compute(rows), self)  # type: ignore[no-untyped-call]
        return gathered[:n_rows]

    def add_gradients(self, module: torch.nn.Module) -> None:
        """Replace each gradient by its sum over the processes; those of sharded tables are that."""
        if self.size == 1:
            return
        import torch

        from offline.training.sharded import ShardedRows

        small: list[Tensor] = []
        for parameter in module.parameters():
            if parameter.grad is None or isinstance(parameter, ShardedRows):
                continue
            if parameter.grad.numel() < _SMALL or not parameter.grad.is_contiguous():
                small.append(parameter.grad)
            else:
                self._add(parameter.grad)
        if small:
            joined = torch.cat([gradient.flatten() for gradient in small])
            self._add(joined)
            start = 0
            for gradient in small:
                end = start + gradient.numel()
                gradient.copy_(joined[start:end].view_as(gradient))
                start = end

    def _add(self, tensor: Tensor) -> None:
        import torch.distributed

        with connected():
            torch.distributed.all_reduce(tensor)

    def add(self, value: float) -> float:
        """The sum of the processes' values."""
        if self.size == 1:
            return value
        import torch

        total = torch.tensor([value], dtype=torch.float64)
        self._add(total)
        return total.item()

    def share_first(self, module: torch.nn.Module) -> None:
        """Give every process the weights and buffers of the first one, but for sharded tables."""
        if self.size == 1:
            return
        import torch.distributed

        from offline.training.sharded import ShardedRows

        with connected():
            for tensor in (*module.parameters(), *module.buffers()):
                if not isinstance(tensor, ShardedRows):
                    torch.distributed.broadcast(tensor.detach(), 0)

    def first(self, value: float) -> float:
        """The first process's value."""
        return value if self.size == 1 else self.add(value if self.leads else 0.0)

    def wait(self) -> None:
        """Wait until all processes are here."""
        self.add(0.0)


ALONE = Group(0, 1)


class _Current:
    group = ALONE
    surplus: int | None = None
    """Place of this process on its machine, where others have all of its GPUs."""


def current() -> Group:
    """The group that this process works in; `ALONE` where it is in none."""
    return _Current.group


@contextmanager
def within(group: Group) -> Iterator[None]:
    """Within the context trainings are the group's."""
    before, _Current.group = _Current.group, group
    try:
        yield
    finally:
        _Current.group = before


@contextmanager
def connected() -> Iterator[None]:
    """Say in a line that another process doesn't answer.

    Raises:
        GroupError: it doesn't.
    """
    try:
        yield
    except RuntimeError as error:
        # Its first sentence, without the place in torch's source.
        reason = re.sub(r"^\[[^\]]*\] *", "", str(error)).partition("\n")[0].partition(". ")[0]
        raise GroupError(
            "another process of the training ended, or can't be reached; the same command goes on "
            f"where it stopped ({reason})"
        ) from error


@contextmanager
def launched_group() -> Iterator[Group]:
    """The processes that torchrun started, of which this is one; `ALONE` without it."""
    if "TORCHELASTIC_RUN_ID" not in os.environ or int(os.environ["WORLD_SIZE"]) == 1:
        yield ALONE
        return
    import torch

    place, n_gpus = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
    if place < n_gpus:
        torch.cuda.set_device(place)
    elif n_gpus:  # it can train on its CPU, if that is asked for
        _Current.surplus = place
    torch.distributed.init_process_group(timeout=_MAX_WAIT)
    try:
        yield Group(torch.distributed.get_rank(), torch.distributed.get_world_size())
    finally:
        _Current.surplus = None
        torch.distributed.destroy_process_group()


def check_own_gpu() -> None:
    """Look whether this process may use a GPU, on a machine that has some.

    Raises:
        ConfigError: each of them is another process's.
    """
    if _Current.surplus is not None:
        raise ConfigError(
            f"process {_Current.surplus} of this machine has no GPU of its own: start as many "
            "processes as GPUs, or set device = 'cpu'"
        )
