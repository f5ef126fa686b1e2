"""Duration and rounds of each section."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

HISTORY_LENGTH = 50
K = 10


@dataclass(frozen=True)
class Plan:
    """Seconds of each stretch of load, and how often alternating stretches are repeated.

    For a ratio, many short rounds are better than few long ones: other load on the machine changes
    from second to second, and falls on both sides of a short round alike.
    """

    name: str
    rounds: int  # where two services are compared
    survey_rounds: int  # where figures stand for themselves
    saturated_s: float
    single_s: float
    open_loop_s: float
    overload_s: float
    steady_s: float  # before an overload, and around each swap
    n_swaps: int
    n_memory_swaps: int
    catalogue_sizes: tuple[int, ...]
    largest_items: int  # of the catalogue in the workers section
    shadow_rounds: int  # each with a shadow and without
    shadow_s: float
    together_rounds: int  # of services under load at the same time
    together_s: float
    rerank_rounds: int  # each with reranking and without
    rerank_fault_rounds: int  # the same for each way to fail
    rerank_s: float
    n_recall_histories: int = 200
    warm_up_s: float = 1.0
    n_connections: int = 32
    n_users: int = 400
    rerank_layers: int = 30  # of the language model: SmolLM2-135M's
    rerank_rps: float = 200.0
    rates_rps: tuple[int, ...] = (100, 500, 1_000, 2_000)

    def with_sizes(self, sizes: Sequence[int]) -> Self:
        """The same for catalogues of other sizes."""
        return replace(self, catalogue_sizes=tuple(sizes), largest_items=max(sizes))


FULL = Plan(
    name="full",
    rounds=15,
    survey_rounds=5,
    saturated_s=2.0,
    single_s=2.0,
    open_loop_s=20.0,
    overload_s=60.0,
    steady_s=15.0,
    n_swaps=6,
    n_memory_swaps=100,
    catalogue_sizes=(3_700, 100_000, 1_000_000, 10_000_000),
    largest_items=1_000_000,
    shadow_rounds=240,
    shadow_s=1.0,
    together_rounds=10,
    together_s=8.0,
    rerank_rounds=8,
    rerank_fault_rounds=3,
    rerank_s=8.0,
)
QUICK = Plan(
    name="quick",
    rounds=3,
    survey_rounds=2,
    saturated_s=1.0,
    single_s=0.8,
    open_loop_s=1.2,
    overload_s=3.0,
    steady_s=1.5,
    n_swaps=2,
    n_memory_swaps=6,
    catalogue_sizes=(3_700,),
    largest_items=3_700,
    shadow_rounds=4,
    shadow_s=0.5,
    together_rounds=3,
    together_s=2.0,
    rerank_rounds=2,
    rerank_fault_rounds=1,
    rerank_s=2.0,
    n_recall_histories=50,
    warm_up_s=0.5,
)
