from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from offline.alignment.config import AlignmentConfig
from offline.alignment.pool import (
    ItemTextPool,
    PooledAnswer,
    PoolFolder,
    PoolWriter,
    open_pool,
    open_pool_writer,
    pooled_items,
)
from offline.alignment.run import align, pooled
from offline.knowledge.config import KnowledgeConfig
from offline.knowledge.flaws import Flaw
from tests.offline.alignment.world import make_inputs, make_models
from tests.offline.knowledge.stand_ins import texts_of

OWN = texts_of("toy war", "quiet story", "toy war", "comedy film")
CONFIG = AlignmentConfig(max_new_tokens=12, texts_per_example=3, sampling_batch_size=6)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_models(tmp_path_factory.mktemp("pool"))


@pytest.fixture(scope="module")
def knowledge(cache: Path) -> KnowledgeConfig:
    return KnowledgeConfig(model=str(cache / "llm"))


@pytest.fixture(scope="module")
def writer(cache: Path, knowledge: KnowledgeConfig) -> PoolWriter:
    return open_pool_writer(OWN, "item+knowledge", knowledge, CONFIG, cache)


def filled(folder: Path, knowledge: KnowledgeConfig, writer: PoolWriter, n_each: int) -> PoolFolder:
    pool = PoolFolder(folder, knowledge, 12, seed=0)
    pool.fill([4, 1, 2, 3], OWN, n_each, 6, lambda: writer)
    return pool


def never() -> PoolWriter:
    raise AssertionError("the LLM was opened, though nothing is missing")


def test_log_p_is_that_of_the_llm_itself(
    tmp_path: Path, knowledge: KnowledgeConfig, writer: PoolWriter
) -> None:
    pool = filled(tmp_path, knowledge, writer, 3)
    for item in (1, 2, 4):
        for answer in pool.answers(OWN[item - 1]):
            with torch.no_grad():
                (exact,) = writer.policy.log_p([writer.prompts.tokens(item)], [answer.tokens])
            np.testing.assert_allclose(answer.log_p, exact.numpy(), atol=1e-4)


def test_a_pool_is_read_again_without_the_llm(
    tmp_path: Path, knowledge: KnowledgeConfig, writer: PoolWriter
) -> None:
    first = filled(tmp_path, knowledge, writer, 3)
    again = PoolFolder(tmp_path, knowledge, 12, seed=0)
    again.fill([4, 1, 2, 3], OWN, 3, 6, never)
    for own in OWN:
        for one, other in zip(first.answers(own), again.answers(own), strict=True):
            assert (one.answer, one.flaw) == (other.answer, other.flaw)
            assert np.array_equal(one.tokens, other.tokens)
            assert np.array_equal(one.log_p, other.log_p)
    assert len({answer.answer for own in OWN for answer in first.answers(own)}) > 6


def test_a_killed_pool_goes_on_with_what_is_missing_as_if_it_had_not_been(
    tmp_path: Path, knowledge: KnowledgeConfig, writer: PoolWriter
) -> None:
    whole = filled(tmp_path / "whole", knowledge, writer, 3)
    filled(tmp_path / "killed", knowledge, writer, 3)
    first, second = sorted((tmp_path / "killed").glob("*.safetensors"))
    first.unlink()
    second.with_name(".left.partial").write_bytes(b"half")
    resumed = filled(tmp_path / "killed", knowledge, writer, 3)
    for own in OWN:
        texts = [answer.answer for answer in resumed.answers(own)]
        assert texts == [answer.answer for answer in whole.answers(own)]


def test_other_settings_see_other_answers(
    tmp_path: Path, knowledge: KnowledgeConfig, writer: PoolWriter
) -> None:
    filled(tmp_path, knowledge, writer, 2)
    assert not PoolFolder(tmp_path, knowledge, 13, seed=0).answers(OWN[0])
    assert not PoolFolder(tmp_path, knowledge, 12, seed=1).answers(OWN[0])


def test_a_degenerate_answer_is_kept_but_the_item_stands_by_its_own_text(tmp_path: Path) -> None:
    tokens, log_p = np.arange(3, dtype=np.int32), np.zeros(3, np.float32)
    flawed = PooledAnswer("This item appeals to people who enjoy fun fun", Flaw.LOOP, tokens, log_p)
    sound = PooledAnswer("People like it. And the", None, tokens, log_p)

    class Fixed(PoolFolder):
        def answers(self, item_text: str) -> list[PooledAnswer]:
            return [flawed, sound] if item_text == OWN[0] else [sound]

    folder = Fixed(tmp_path, KnowledgeConfig(), 12, seed=0)
    pool = ItemTextPool(folder, [1, 2], OWN, "item+knowledge", 2)
    assert pool.items.tolist() == [1]  # item 2 has one answer only
    first, second = pool.texts(1)
    assert (first.text, second.text) == (OWN[0], f"{OWN[0]}\nPeople like it.")
    assert (pool.knowledge(first), pool.knowledge(second)) == ("", "People like it.")
    assert pool.texts(1)[0] is first


def test_items_with_most_interactions_come_first(
    tmp_path: Path, knowledge: KnowledgeConfig, writer: PoolWriter
) -> None:
    counts = np.array([9, 0, 5, 2, 5])
    assert pooled_items(counts, CONFIG).tolist() == [2, 4, 3]
    config = CONFIG.model_copy(update={"pool_items": 2})
    pool = open_pool(OWN, counts, "knowledge", knowledge, config, tmp_path, lambda: writer)
    assert pool.items.tolist() == [2, 4]
    assert {len(pool.texts(2)), len(pool.texts(4))} == {3}


def test_alignment_learns_from_a_pool_that_was_sampled_before_its_first_step(
    cache: Path, tmp_path: Path
) -> None:
    inputs = make_inputs(
        cache, mode="pool", texts_per_example=2, pool_items=4, examples_per_item=3, steps=2
    )
    report = align(inputs, tmp_path / "aligned", tmp_path, pooled)
    assert report["steps"] == 2
    assert len([*(tmp_path / "alignment").rglob("*.safetensors")]) == 1
