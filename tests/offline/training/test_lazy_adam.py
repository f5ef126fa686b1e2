"""Laws of the optimizer that changes a few rows of a table."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from offline.training.lazy_adam import LazyAdamW
from offline.training.optimizer import new_optimizer

N_ROWS, SIZE, N_STEPS = 30, 4, 25
Optimizer = torch.optim.Optimizer
NO_DECAY = {torch.optim.AdamW: {"weight_decay": 0.0}}


class Table(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.rows = torch.nn.Parameter(torch.randn(N_ROWS, SIZE))
        self.line = torch.nn.Linear(SIZE, SIZE)

    def loss(self, rows: Tensor, wanted: Tensor, *, sparse: bool) -> Tensor:
        read = F.embedding(rows, self.rows, sparse=sparse)
        return (self.line(read) - wanted).square().sum()


def steps(*, every_row: bool = False) -> Iterator[tuple[Tensor, Tensor]]:
    """Rows of each step, some of them twice, and what is to be made of them."""
    random = torch.Generator().manual_seed(1)
    for _ in range(N_STEPS):
        rows = torch.randint(N_ROWS - 3, (6,), generator=random)
        rows = torch.arange(N_ROWS) if every_row else rows
        yield rows, torch.randn(len(rows), SIZE, generator=random)


def trained(optimizer_of_rows: type[Optimizer] | None, decay: float, *, every_row: bool) -> Table:
    """With `LazyAdamW`, or else with another optimizer for the table and AdamW for the rest."""
    table = Table()
    if optimizer_of_rows is None:
        optimizers: list[Optimizer] = [new_optimizer(table, 0.05, decay, lazy=True)]
        assert isinstance(optimizers[0], LazyAdamW)
    else:
        rows = optimizer_of_rows([{"params": [table.rows], **NO_DECAY.get(optimizer_of_rows, {})}])
        optimizers = [new_optimizer(table.line, 0.05, decay), rows]
        rows.param_groups[0]["lr"] = 0.05
    for rows, wanted in steps(every_row=every_row):
        loss = table.loss(rows, wanted, sparse=optimizer_of_rows is not torch.optim.AdamW)
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
    return table


def assert_equal(found: Table, wanted: Table) -> None:
    for name, parameter in wanted.named_parameters():
        torch.testing.assert_close(found.get_parameter(name), parameter, atol=1e-6, rtol=1e-5)


def test_without_decay_it_is_sparse_adam() -> None:
    found = trained(None, 0.0, every_row=False)
    assert_equal(found, trained(torch.optim.SparseAdam, 0.0, every_row=False))
    assert torch.equal(found.rows[-3:], Table().rows[-3:])  # nobody read them


def test_where_each_step_reads_every_row_it_is_adamw() -> None:
    assert_equal(
        trained(None, 0.0, every_row=True),
        trained(torch.optim.AdamW, 0.0, every_row=True),
    )


@pytest.mark.parametrize("decay", [0.0, 0.3])
def test_on_the_rows_of_a_step_it_is_adamw(decay: float) -> None:
    """AdamW over the whole table whose changes of other rows, and of their moments, are undone."""
    table = Table()
    lazy, dense = new_optimizer(table, 0.05, decay, lazy=True), Table()
    adamw = new_optimizer(dense, 0.05, decay)
    for rows, wanted in steps():
        table.loss(rows, wanted, sparse=True).backward()
        lazy.step()
        lazy.zero_grad()
        dense.loss(rows, wanted, sparse=False).backward()
        others = torch.ones(N_ROWS, dtype=torch.bool)
        others[rows] = False
        state = adamw.state[dense.rows]
        kept = {name: state[name].clone() for name in state if name != "step"}
        before = dense.rows.detach().clone()
        adamw.step()
        adamw.zero_grad()
        with torch.no_grad():
            dense.rows[others] = before[others]
            for name in ("exp_avg", "exp_avg_sq"):
                state[name][others] = kept[name][others] if kept else 0.0
        assert_equal(table, dense)
