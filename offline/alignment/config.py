"""Settings of alignment; reading a recipe loads no torch."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from offline.instruction.adapter_config import AdapterConfig

Mode = Literal["pool", "synchronous", "asynchronous"]
WITHOUT_INFLUENCE = {"save_every_s", "generator_device", "generator_threads"}
"""Keys that don't decide the result: how often it is saved, and where texts are sampled."""


class AlignmentConfig(AdapterConfig):
    """How an LLM is aligned with a recommender (SeRALM 4.4); unknown names are rejected."""

    steps: int = Field(0, ge=0, le=10_000_000, description="updates; 0: no alignment")
    mode: Mode = Field(
        "pool",
        description="pool: texts are sampled once, before the first step; synchronous: at every "
        "step, from the LLM as it is; asynchronous: by a process of its own, with weights of some "
        "steps ago",
    )
    texts_per_example: int = Field(
        4, ge=1, le=1_024, description="sampled texts that are compared; in a pool, of each item"
    )
    max_new_tokens: int = Field(64, ge=1, le=4_096, description="length of a sampled text")
    sampling_batch_size: int = Field(32, ge=1, le=65_536, description="texts sampled at a time")

    examples_per_step: int = Field(
        8, ge=1, le=65_536, description="histories with their next items; not of a pool"
    )
    newest_items: int = Field(
        1,
        ge=1,
        le=256,
        description="the newest different items of a history, whose texts are sampled; 1 in a pool",
    )

    items_per_step: int = Field(4, ge=1, le=65_536, description="of a pool")
    examples_per_item: int = Field(
        16,
        ge=1,
        le=65_536,
        description="of a pool: histories that end with the item; a text's reward is their mean",
    )
    pool_items: int = Field(
        0,
        ge=0,
        description="items that the pool has texts of, those with most interactions; 0: all",
    )
    train_on_pool: bool = Field(
        True,
        description="of a pool: before the first step the recommender is trained with texts that "
        "are drawn from it for each batch, as in Algorithm 1; else with the texts before "
        "alignment, which it then likes best",
    )
    items_by: Literal["interactions", "items"] = Field(
        "interactions",
        description="of a pool: items are drawn by their number of interactions, or all alike",
    )

    baseline: Literal["none", "group"] = Field(
        "group",
        description="subtracted from a text's reward; group: the mean reward of the other texts of "
        "the same example; none: nothing, as in the paper",
    )
    normalise: bool = Field(
        False,
        description="divide by the standard deviation of the rewards in a group; with a baseline",
    )
    reward_clip: float = Field(
        0.0, ge=0.0, description="the largest reward p(y|x,s)/p(y|x); 0: no limit, as in the paper"
    )
    importance_correction: bool = Field(
        True,
        description="weight a text by its probability now over that when it was sampled; 1 where "
        "it is sampled from the LLM as it is",
    )
    importance_clip: float = Field(2.0, ge=1.0, description="the largest such weight")
    kl_coefficient: float = Field(
        0.05, ge=0.0, description="alpha of equation 8: penalty for leaving the original LLM"
    )

    learning_rate: float = Field(1e-4, gt=0.0, le=1.0, description="of the LLM")
    gradient_clip: float = Field(1.0, gt=0.0, description="largest norm of the LLM's gradient")
    batch_tokens: int = Field(
        2_048, ge=1, description="tokens that go through the LLM at a time in an update"
    )

    recommender_learning_rate: float = Field(
        1e-4, ge=0.0, le=1.0, description="0: the recommender stays as it is"
    )
    freeze_encoder: bool = Field(
        False, description="the text encoder stays as it is, and a text is encoded only once"
    )
    encoder_learning_rate: float = Field(
        1e-5, gt=0.0, le=1.0, description="of the text encoder, unless it is frozen"
    )

    refresh_every: int = Field(
        50, ge=1, description="asynchronous: steps between snapshots for the generator"
    )
    queue_size: int = Field(
        8, ge=1, description="asynchronous: batches that wait; the generator pauses when it is full"
    )
    generator_device: Literal["auto", "cpu", "cuda"] = Field(
        "auto",
        description="asynchronous: of the generator; auto: a second GPU if the trainer is on one "
        "and there are two, else the trainer's own",
    )
    generator_threads: int = Field(
        0,
        ge=0,
        le=1_024,
        description="asynchronous: of the threads that compute on the CPU, the generator's; the "
        "trainer has the others. 0: half of them",
    )

    watch_every: int = Field(
        50, ge=1, description="steps between validations and looks at the texts of some items"
    )
    report_items: tuple[str, ...] = Field(
        (),
        description="item_ids whose texts are watched, and shown before and after; empty: 16 items "
        "at even distances in the catalogue",
    )
    stop_degenerate_share: float = Field(
        0.5,
        gt=0.0,
        le=1.0,
        description="alignment stops where the share of degenerate texts rose by so much",
    )
    stop_distinct_share: float = Field(
        0.5,
        ge=0.0,
        lt=1.0,
        description="and where the share of different word pairs fell below this part of the first",
    )
    save_every_s: float = Field(60.0, ge=0.0, description="seconds between checkpoints")
    seed: int = Field(0, ge=0, le=2**31 - 1, description="of all random draws")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto: cuda where it is")

    @model_validator(mode="after")
    def _choices_fit(self) -> Self:
        if self.texts_per_example == 1 and (self.baseline == "group" or self.normalise):
            raise ValueError(
                'texts_per_example 1: baseline "group" and normalise compare two texts or more'
            )
        if self.normalise and self.baseline == "none":
            raise ValueError('normalise = true: goes with baseline "group", not "none"')
        if self.mode == "pool" and self.newest_items > 1:
            raise ValueError(f'newest_items {self.newest_items}: mode "pool" takes 1')
        return self
