"""Texts that several processes write are those that one writes, killed and resumed too."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from offline.engine.local import LocalEngine
from offline.engine.work import Workplace
from offline.knowledge.answers import read_answers
from offline.knowledge.asking import OpenModel
from offline.knowledge.batches import group
from offline.knowledge.generation import cache_file, generate_knowledge
from offline.knowledge.report import KnowledgeReport
from tests.offline.knowledge.telling import CONFIG, TEXTS, open_telling, titles_asked

ROOT = Path(__file__).parents[3]


def generate(
    cache: Path, processes: int | None, open_model: OpenModel = open_telling
) -> tuple[list[str], KnowledgeReport]:
    cache.mkdir(exist_ok=True)
    workplace = None
    if processes is not None:
        workplace = Workplace(LocalEngine(processes), cache / "parts")
    knowledge, report = generate_knowledge(
        TEXTS, CONFIG, cache, bundled=cache, open_model=open_model, workplace=workplace
    )
    return knowledge.texts, report


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Texts of a model of this process."""
    texts, report = generate(tmp_path_factory.mktemp("alone"), None)
    assert (report.generated, report.retried) == (40, 8)
    return texts


def test_texts_are_equal_and_their_counts(alone: list[str], tmp_path: Path) -> None:
    texts, report = generate(tmp_path, 1)
    assert texts == alone
    assert (report.generated, report.retried, report.tokens) == (40, 8, 8 * 60 + 40 * 12)
    assert [path for path in (tmp_path / "parts").rglob("*") if path.is_file()] == []
    assert generate(tmp_path, 1)[1].from_cache == 40


def test_a_killed_run_asks_for_what_is_missing_in_the_same_batches(
    alone: list[str], tmp_path: Path
) -> None:
    script = (
        "import sys; from pathlib import Path\n"
        "from tests.offline.knowledge import telling, test_on_engine as test\n"
        "if __name__ == '__main__':\n"
        "    test.generate(Path(sys.argv[1]), 2, telling.open_held)\n"
    )
    (tmp_path / "run.py").write_text(script)
    run = subprocess.Popen(
        [sys.executable, str(tmp_path / "run.py"), str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.DEVNULL,
    )
    log, deadline = cache_file(CONFIG, tmp_path), time.monotonic() + 60
    while len(read_answers(log)) < 9:
        assert run.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    run.send_signal(signal.SIGKILL)
    assert run.wait() == -signal.SIGKILL
    kept = read_answers(log)
    assert 9 <= len(kept) < 40
    texts, report = generate(tmp_path, 1)
    assert texts == alone
    assert report.from_cache == len(kept)
    after = read_answers(log)
    assert [key for key, answer in kept.items() if not answer.flaw and after[key] != answer] == []
    # What was being answered is asked again, and nothing else.
    assert len(titles_asked(tmp_path)) <= 40 + 8 + 2 * CONFIG.batch_size


def test_an_answer_that_no_one_took_is_found_by_the_next_run(
    alone: list[str], tmp_path: Path
) -> None:
    """A worker finishes its batch though the first process is dead."""

    class Lost(LocalEngine):
        def run(self, work, parts):  # type: ignore[no-untyped-def]
            for number, part in enumerate(super().run(work, parts)):
                if number == 3:
                    raise KeyboardInterrupt
                yield part

    workplace = Workplace(Lost(1), tmp_path / "parts")
    with pytest.raises(KeyboardInterrupt):
        generate_knowledge(
            TEXTS, CONFIG, tmp_path, bundled=tmp_path, open_model=open_telling, workplace=workplace
        )
    texts, report = generate(tmp_path, 1)
    assert texts == alone
    assert report.from_cache == 9
    assert len(titles_asked(tmp_path)) == 40 + 8


def test_groups_that_are_known_in_part_make_new_ones() -> None:
    texts = {str(number): "x" * (9 - number) for number in range(9)}
    assert group(texts, texts, texts, 4) == [["0", "1", "2", "3"], ["4", "5", "6", "7"], ["8"]]
    assert group(texts, ["4", "5", "6", "7", "8"], texts, 4) == [["4", "5", "6", "7"], ["8"]]
    assert group(texts, ["8", "1", "6", "7"], texts, 4) == [["1", "6", "7"], ["8"]]
