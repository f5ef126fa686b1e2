from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from model_store.errors import ConfigError
from offline.alignment.config import AlignmentConfig
from offline.alignment.models import Models
from offline.alignment.watch import Watch, distinct_pairs, watched_items
from offline.knowledge.prompt import Prompt
from tests.offline.alignment.world import make_inputs

SOUND = [
    "This item appeals to people who enjoy a calm story about old friends and their children.",
    "This item appeals to people who enjoy loud action, fast cars and a war that never ends.",
    "This item appeals to people who enjoy animation with songs, toys and a good sense of humour.",
]
LOOP = "This item appeals to people who enjoy " + "a good film and " * 12 + "a good film."


class Writer:
    """Stands in for the models: writes what it is told, and measures nothing."""

    def __init__(self, folder: Path) -> None:
        self.inputs = make_inputs(folder)
        self.answers = SOUND

    def write(self, prompts: list[Prompt]) -> list[str]:
        return self.answers[: len(prompts)]

    def measure(self, current_texts: dict[int, str]) -> float:  # noqa: ARG002
        return float("nan")


@pytest.fixture
def writer(tmp_path: Path) -> Writer:
    return Writer(tmp_path)


def watch_of(writer: Writer, folder: Path) -> Watch:
    models: Models = writer  # type: ignore[assignment]
    watch = Watch(models, [1, 2, 3], folder, AlignmentConfig(steps=2))
    watch.begin(0, [])
    return watch


def test_sound_texts_go_on(writer: Writer, tmp_path: Path) -> None:
    watch = watch_of(writer, tmp_path / "out")
    look = watch.look(0, {})
    watch.look(1, {})
    assert (look.degenerate, look.ndcg) == (0.0, None)
    assert look.texts == {f"i{number}": SOUND[number - 1] for number in (1, 2, 3)}
    assert watch.collapse() is None
    watch.close()


def test_alignment_stops_where_texts_degenerate(writer: Writer, tmp_path: Path) -> None:
    watch = watch_of(writer, tmp_path / "out")
    watch.look(0, {})
    writer.answers = [LOOP, LOOP, SOUND[0]]
    assert watch.look(1, {}).degenerate == pytest.approx(2 / 3)
    assert watch.collapse() == ("67% of the watched texts are degenerate, 0% were before alignment")
    watch.close()


def test_alignment_stops_where_all_items_get_one_text(writer: Writer, tmp_path: Path) -> None:
    watch = watch_of(writer, tmp_path / "out")
    watch.look(0, {})
    writer.answers = [SOUND[0]] * 3
    assert watch.look(1, {}).degenerate == 0.0
    assert "repeat each other" in str(watch.collapse())
    watch.close()


def test_pairs_are_counted_over_all_texts() -> None:
    assert distinct_pairs([["a", "b", "a", "b"], ["a", "b"]]) == pytest.approx(2 / 4)
    assert distinct_pairs([["a"], []]) == 0.0


def test_watched_items_are_those_named_or_lie_at_even_distances() -> None:
    ids = [f"i{number}" for number in range(1, 33)]
    assert watched_items(ids, AlignmentConfig(report_items=("i5", "i2"))) == [5, 2]
    assert np.diff(watched_items(ids, AlignmentConfig())).tolist() == [2] * 15
    assert watched_items(ids[:3], AlignmentConfig()) == [1, 2, 3]
    with pytest.raises(ConfigError, match=r"report_items: 'x' is not in the catalogue"):
        watched_items(ids, AlignmentConfig(report_items=("x",)))
