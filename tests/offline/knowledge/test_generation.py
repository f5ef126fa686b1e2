import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from offline.knowledge.answers import AnswerLog, StoredAnswer, answer_key, read_answers
from offline.knowledge.config import KnowledgeConfig
from offline.knowledge.flaws import Flaw
from offline.knowledge.generation import cache_file, generate_knowledge
from offline.knowledge.language_model import Answer, Sampling
from offline.knowledge.prompt import Prompt, read_template
from offline.knowledge.report import KnowledgeReport
from tests.offline.knowledge.stand_ins import RecitingModel, sound_answer, texts_of, title_of

CONFIG = KnowledgeConfig(model="reciting", item_kind="film", retries=2)
ROOT = Path(__file__).parents[3]


def generate(
    titles: list[str],
    model: RecitingModel,
    cache: Path,
    config: KnowledgeConfig = CONFIG,
    *,
    regenerate: bool = False,
) -> tuple[list[str], KnowledgeReport]:
    knowledge, report = generate_knowledge(
        texts_of(*titles),
        config,
        cache,
        regenerate=regenerate,
        bundled=cache / "bundled",
        open_model=model.open,
    )
    return knowledge.texts, report


def ship(cache: Path, title: str, knowledge: str) -> None:
    key = answer_key(CONFIG, read_template(CONFIG.prompt), *texts_of(title))
    with AnswerLog(cache / "bundled" / "films.jsonl") as log:
        log.append([StoredAnswer(key, knowledge, None, 1)])


def test_knowledge_is_aligned_with_the_items_whatever_their_length(tmp_path: Path) -> None:
    titles = [f"film {'x' * (i * 7 % 11)}{i}" for i in range(23)]
    knowledge, report = generate(titles, RecitingModel(), tmp_path)
    assert [title in text for title, text in zip(titles, knowledge, strict=True)] == [True] * 23
    assert (report.n_items, report.n_texts, report.generated) == (23, 23, 23)


def test_equal_texts_are_asked_about_once(tmp_path: Path) -> None:
    model = RecitingModel()
    knowledge, report = generate(["Heat", "Kim", "Heat", "Heat"], model, tmp_path)
    assert Counter(model.titles_asked()) == {"Heat": 1, "Kim": 1}
    assert knowledge[0] == knowledge[2] == knowledge[3] != knowledge[1]
    assert (report.n_items, report.n_texts) == (4, 2)


def test_a_second_run_asks_nothing_and_opens_no_model(tmp_path: Path) -> None:
    first, _ = generate(["Heat", "Kim"], RecitingModel(), tmp_path)
    model = RecitingModel()
    again, report = generate(["Kim", "Heat"], model, tmp_path)
    assert again == first[::-1]
    assert (model.opened, report.from_cache, report.generated) == (0, 2, 0)


def test_only_found_answers_are_used_where_nothing_is_to_be_generated(tmp_path: Path) -> None:
    ship(tmp_path, "Heat", "Heat is for the bundled.")
    config = CONFIG.model_copy(update={"generate": False})
    generate(["Kim"], RecitingModel(), tmp_path)
    model = RecitingModel()
    knowledge, report = generate(["Heat", "Kim", "Jaws"], model, tmp_path, config)
    assert (knowledge[0], knowledge[2]) == ("Heat is for the bundled.", "")
    assert "Kim" in knowledge[1]
    assert (model.opened, report.from_bundled, report.from_cache, report.not_asked) == (0, 1, 1, 1)
    asked, _ = generate(["Heat", "Kim", "Jaws"], model, tmp_path, CONFIG)
    assert (asked[:2], model.titles_asked()) == (knowledge[:2], ["Jaws"])


@pytest.mark.parametrize(
    ("choices", "generates"),
    [
        ({}, False),
        ({"generate": True}, True),
        ({"model": "none"}, False),
        ({"model": "some/llama"}, True),
        ({"base_url": "http://127.0.0.1:1/v1"}, True),
        ({"model": "some/llama", "generate": False}, False),
    ],
)
def test_a_model_writes_where_it_is_asked_for(choices: dict[str, object], generates: bool) -> None:
    config = KnowledgeConfig.model_validate(choices)
    assert config.generates is generates
    assert KnowledgeConfig.model_validate(config.model_dump()).generates is generates


def test_no_model_cannot_be_asked_to_write() -> None:
    with pytest.raises(ValueError, match='generate = true needs a model, not "none"'):
        KnowledgeConfig(model="none", generate=True)


def test_no_model_means_no_knowledge(tmp_path: Path) -> None:
    model = RecitingModel()
    knowledge, report = generate(["Heat", "Kim"], model, tmp_path, KnowledgeConfig(model="none"))
    assert (knowledge, model.opened, report.n_items) == (["", ""], 0, 2)
    assert not (tmp_path / "knowledge").exists()


def test_no_items_are_no_work(tmp_path: Path) -> None:
    model = RecitingModel()
    knowledge, _ = generate([], model, tmp_path)
    assert (knowledge, model.opened) == ([], 0)


def test_bundled_answers_come_before_the_cache_and_the_model(tmp_path: Path) -> None:
    generate(["Heat"], RecitingModel(), tmp_path)
    ship(tmp_path, "Heat", "Bundled words about Heat.")
    model = RecitingModel()
    knowledge, report = generate(["Heat", "Kim"], model, tmp_path)
    assert knowledge[0] == "Bundled words about Heat."
    assert model.titles_asked() == ["Kim"]
    assert (report.from_bundled, report.from_cache, report.generated) == (1, 0, 1)


def test_regenerating_ignores_bundled_answers(tmp_path: Path) -> None:
    ship(tmp_path, "Heat", "Bundled words about Heat.")
    model = RecitingModel()
    knowledge, report = generate(["Heat"], model, tmp_path, regenerate=True)
    assert "quiet evening" in knowledge[0]
    assert (model.titles_asked(), report.from_bundled) == (["Heat"], 0)


def test_a_degenerate_answer_is_asked_for_again_in_another_way(tmp_path: Path) -> None:
    def loops_at_first(prompt: Prompt, sampling: Sampling) -> str:
        loops = title_of(prompt) == "Heat" and sampling.temperature == 0
        return "heat and " * 30 if loops else sound_answer(prompt, sampling)

    model = RecitingModel(loops_at_first)
    knowledge, report = generate(["Heat", "Kim"], model, tmp_path)
    assert "quiet evening with Heat" in knowledge[0]
    assert Counter(model.titles_asked()) == {"Heat": 2, "Kim": 1}
    (_, first), (_, retry) = [asked for asked in model.asked if title_of(asked[0]) == "Heat"]
    assert retry.temperature > first.temperature
    assert retry.seed != first.seed
    assert (report.retried, report.degenerate_attempts) == (1, {Flaw.LOOP: 1})
    assert (report.generated, report.without_knowledge) == (2, {})


def test_a_later_answer_is_kept_though_the_first_ones_were_of_no_use(tmp_path: Path) -> None:
    def sound_when_warm(prompt: Prompt, sampling: Sampling) -> str:
        return sound_answer(prompt, sampling) if sampling.temperature else "I'm sorry, I can't help"

    knowledge, report = generate(["Heat", "Kim"], RecitingModel(sound_when_warm), tmp_path)
    assert (report.generated, report.without_knowledge) == (2, {})
    model = RecitingModel(sound_when_warm)
    assert generate(["Heat", "Kim"], model, tmp_path)[0] == knowledge
    assert model.opened == 0


def test_an_item_that_stays_degenerate_gets_no_knowledge_and_is_counted(tmp_path: Path) -> None:
    def always_sorry(prompt: Prompt, sampling: Sampling) -> str:
        sorry = title_of(prompt) == "Heat"
        return "I'm sorry, I can't help." if sorry else sound_answer(prompt, sampling)

    model = RecitingModel(always_sorry)
    knowledge, report = generate(["Heat", "Kim"], model, tmp_path)
    assert knowledge[0] == ""
    assert Counter(model.titles_asked()) == {"Heat": 3, "Kim": 1}
    assert report.degenerate_attempts == {Flaw.REFUSAL: 3}
    assert report.without_knowledge == {Flaw.REFUSAL: 1}
    assert report.generated == 1

    model = RecitingModel(always_sorry)
    again, report = generate(["Heat", "Kim"], model, tmp_path)
    assert (again, model.opened) == (knowledge, 0)
    assert report.without_knowledge == {Flaw.REFUSAL: 1}


def test_a_broken_off_answer_is_cut_at_its_last_sentence_and_counted(tmp_path: Path) -> None:
    model = RecitingModel(lambda prompt, sampling: sound_answer(prompt, sampling) + " It is a")
    knowledge, report = generate(["Heat"], model, tmp_path)
    assert knowledge[0].endswith("some good friends.")
    assert report.trimmed == 1


def test_a_run_that_fails_midway_keeps_its_answers(tmp_path: Path) -> None:
    class BreaksDown(RecitingModel):
        def generate(self, prompts: list[Prompt], sampling: Sampling) -> list[Answer]:  # type: ignore[override]
            if len(self.asked) >= 8:
                raise RuntimeError("out of memory")
            return super().generate(prompts, sampling)

    titles = [f"film {i}" for i in range(20)]
    with pytest.raises(RuntimeError, match="out of memory"):
        generate(titles, BreaksDown(), tmp_path)
    model = RecitingModel()
    _, report = generate(titles, model, tmp_path)
    assert (report.from_cache, report.generated, len(model.asked)) == (8, 12, 12)


def test_the_report_is_json(tmp_path: Path) -> None:
    import json

    _, report = generate(["Heat", "Kim"], RecitingModel(), tmp_path)
    row = json.loads(json.dumps(report.to_json()))
    assert (row["generated"], row["tokens"], row["model"]) == (2, 24, "reciting")


# A generator with a slow model, which records each prompt before it answers.
SLOW_RUN = """
import itertools, sys, time
from pathlib import Path
from tests.offline.knowledge.stand_ins import RecitingModel, sound_answer, texts_of, title_of
from offline.knowledge.config import KnowledgeConfig
from offline.knowledge.generation import generate_knowledge

cache, asked = Path(sys.argv[1]), Path(sys.argv[2])
questions, n_answered = itertools.count(), int(sys.argv[3])

def slowly(prompt, sampling):
    with asked.open("a") as file:
        file.write(title_of(prompt) + "\\n")
    # However busy the machine is, it is killed before it has answered all.
    time.sleep(0.01 if next(questions) < n_answered else 600)
    return sound_answer(prompt, sampling)

generate_knowledge(
    texts_of(*[f"film {i}" for i in range(60)]),
    KnowledgeConfig(model="reciting", item_kind="film"),
    cache, bundled=cache / "bundled", open_model=RecitingModel(slowly).open,
)
"""


def start_slow_run(cache: Path, asked: Path, n_answered: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", SLOW_RUN, str(cache), str(asked), str(n_answered)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.DEVNULL,
    )


def test_a_killed_generator_resumes_without_losing_or_repeating_an_item(tmp_path: Path) -> None:
    asked = tmp_path / "asked.txt"
    path = cache_file(CONFIG, tmp_path)
    run = start_slow_run(tmp_path, asked, 40)
    deadline = time.monotonic() + 60
    while len(read_answers(path)) < 12:
        assert run.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.005)
    run.send_signal(signal.SIGKILL)
    assert run.wait() == -signal.SIGKILL
    kept = read_answers(path)
    asked_before = asked.read_text().splitlines()
    assert 12 <= len(kept) < 60

    assert start_slow_run(tmp_path, asked, 60).wait(timeout=60) == 0
    done = read_answers(path)
    assert len(done) == 60
    assert {key: done[key] for key in kept} == kept
    asked_after = asked.read_text().splitlines()[len(asked_before) :]
    # Answers on the disk are never generated again, and the others exactly once.
    assert len(asked_after) == len(set(asked_after)) == 60 - len(kept)
    assert len(set(asked_before) & set(asked_after)) <= RecitingModel().prompts_at_a_time
