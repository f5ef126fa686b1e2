"""A table whose weights and moments are shared out among the processes that train together.

Row i is kept by process i mod size, with its moments, so that the popular items of a catalogue in
order of popularity are everybody's. A step's rows are put together from all processes; their
gradients go back to the process that keeps them, and are the sum over the processes already.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from offline.training.gathering import Added
from offline.training.group import Group, connected


class ShardedRows(torch.nn.Parameter):
    """The rows that this process keeps of a table [N, D]: float32 [ceil(N / size), D].

    Where N is no multiple of the group's size, the last row of some processes is nobody's.

    Attributes:
        n_rows: N.
        group: the processes that keep the table.
    """

    n_rows: int
    group: Group

    @classmethod
    def of(cls, table: Tensor, group: Group) -> ShardedRows:
        """This process's part of a whole table, which all processes have in the beginning."""
        rows = cls(torch.zeros(-(-len(table) // group.size), *table.shape[1:]))
        rows.n_rows, rows.group = len(table), group
        with torch.no_grad():
            rows.copy_(rows.own(table))
        return rows

    def own(self, table: Tensor) -> Tensor:
        """The rows of a whole table [N, ...] that this process keeps."""
        kept = table[self.group.rank :: self.group.size]
        return F.pad(kept, (0, 0, 0, len(self) - len(kept)))

    def read(self, rows: Tensor) -> Tensor:
        """Rows [R, D] of the whole table, the same in all processes; their gradient is sparse.

        Args:
            rows: different row numbers, int64 [R], the same in all processes.
        """
        places = (rows % self.group.size == self.group.rank).nonzero().squeeze(1)
        own = F.embedding(rows[places] // self.group.size, self, sparse=True)
        table = own.new_zeros(len(rows), own.shape[1]).index_copy(0, places, own)
        read: Tensor = Added.apply(table)  # type: ignore[no-untyped-call]
        return read

    def join(self, part: Tensor, *, everywhere: bool) -> Tensor:
        """A whole table from its parts, in every process or, to be saved, in the first one.

        Args:
            part: of these rows, or of something that is kept with them.
            everywhere: else the other processes get their part back.
        """
        keeps = everywhere or self.group.leads
        whole = part.new_empty(self.n_rows, *part.shape[1:]) if keeps else part
        for rank in range(self.group.size):
            rows = part.detach() if rank == self.group.rank else torch.empty_like(part)
            with connected():
                torch.distributed.broadcast(rows, rank)
            if keeps:
                place = whole[rank :: self.group.size]
                place.copy_(rows[: len(place)])
        return whole
