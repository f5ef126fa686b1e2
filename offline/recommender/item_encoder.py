"""Items as vectors: `[id embedding ; knowledge vector]` projected to the model's size.

SeRALM section 4.3. The projected vectors are both what the network reads and what it scores
against, so at export the projection folds into one table and knowledge costs nothing at request
time.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from offline.recommender.recommender import Vectors
from offline.training.group import Group
from offline.training.sharded import ShardedRows


class ItemEncoder(nn.Module):
    """The item table [N+1, D] as a function of ids and, where given, knowledge.

    Args:
        n_items: N.
        size: D.
        knowledge: whitened features float32 [N+1, F], or None for ids alone.
        id_vectors: initial id embeddings of unit variance float32 [N+1, D], or None for random;
            rows of zeros are random ones.
        id_std: standard deviation of the initial id embeddings.
        anchored: train the difference of ids from their start, so that weight decay pulls them back
            there (L2-SP: Li, Grandvalet and Davoine, 2018) and not to zero: the information of a
            rare item's text is then not lost for lack of interactions.
    """

    knowledge: Tensor | None
    anchor: Tensor | None
    _only: Tensor | None = None

    def __init__(
        self,
        n_items: int,
        size: int,
        knowledge: Vectors | None,
        id_vectors: Vectors | None,
        id_std: float = 0.02,
        anchored: bool = False,
    ) -> None:
        super().__init__()
        start = torch.randn(n_items + 1, size)
        if id_vectors is not None:
            known = torch.from_numpy(id_vectors.any(axis=1))
            start[known] = torch.from_numpy(id_vectors)[known]
        start *= id_std
        self.ids = nn.Parameter(torch.zeros_like(start) if anchored else start)
        # Computed from seed and texts, as the parameters are, so no checkpoint needs it.
        self.register_buffer("anchor", start if anchored else None, persistent=False)
        if knowledge is None:
            self.register_buffer("knowledge", None)
            return
        self.register_buffer("knowledge", torch.from_numpy(knowledge), persistent=False)
        # The two halves of one projection of [id ; knowledge]. It starts as the identity on ids and
        # as zero on knowledge, so that training begins where the ID-only network begins.
        self.from_ids = nn.Linear(size, size)
        self.from_knowledge = nn.Linear(knowledge.shape[1], size, bias=False)
        nn.init.eye_(self.from_ids.weight)
        nn.init.zeros_(self.from_ids.bias)
        nn.init.zeros_(self.from_knowledge.weight)

    def begin_at(self, rows: Tensor) -> None:
        """Have the table of a new encoder begin with other rows, float32 [N+1, D].

        Knowledge counts nothing in it yet, so the ids alone are set.
        """
        with torch.no_grad():
            self.ids.copy_(rows if self.anchor is None else rows - self.anchor)

    def shard(self, group: Group) -> None:
        """Keep a part of the ids' rows, from where they are now; the group's others keep theirs."""
        self.ids = ShardedRows.of(self.ids.detach(), group)

    @contextmanager
    def only(self, rows: Tensor) -> Iterator[None]:
        """Within the context the table has a few rows, and the ids' gradient is sparse.

        Args:
            rows: their item_indices, int64 [R], different ones, the first of them 0.
        """
        self._only = rows
        try:
            yield
        finally:
            self._only = None

    def forward(self) -> Tensor:
        """The whole table, float32 [N+1, D]; row 0 (padding) is zeros."""
        table, anchor, knowledge = self._inputs()
        table = table if anchor is None else table + anchor
        if knowledge is not None:
            table = self.from_ids(table) + self.from_knowledge(knowledge)
        real = torch.ones(len(table), 1, device=table.device)
        real[0] = 0.0
        return table * real

    def _inputs(self) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Ids, anchor and knowledge: of all items, or of some."""
        ids, rows = self.ids, self._only
        if rows is None:
            whole = ids.join(ids, everywhere=True) if isinstance(ids, ShardedRows) else ids
            return whole, self.anchor, self.knowledge
        if isinstance(ids, ShardedRows):
            some = ids.read(rows)
        else:
            some = F.embedding(rows, ids, sparse=True)
        anchor = None if self.anchor is None else self.anchor[rows]
        knowledge = None if self.knowledge is None else self.knowledge[rows]
        return some, anchor, knowledge
