import gzip
from pathlib import Path

import pytest

from model_store.errors import InputError
from offline.knowledge.answers import (
    BUNDLED,
    AnswerLog,
    StoredAnswer,
    answer_key,
    read_answers,
    read_bundled,
)
from offline.knowledge.bundling import pack_answers
from offline.knowledge.config import KnowledgeConfig
from offline.knowledge.flaws import Flaw, find_flaw, trim_to_sentence
from offline.knowledge.prompt import PromptTemplate, read_template

FIRST = StoredAnswer("aa", "Un thé à l’ombre.", None, 1)
SECOND = StoredAnswer("bb", "", Flaw.LOOP, 1)
TEMPLATE = read_template("v1")


def write(path: Path, *answers: StoredAnswer) -> None:
    with AnswerLog(path) as log:
        log.append(answers)


def test_appended_answers_are_read_again(tmp_path: Path) -> None:
    path = tmp_path / "made" / "answers.jsonl"
    write(path, FIRST)
    write(path, SECOND)
    assert read_answers(path) == {"aa": FIRST, "bb": SECOND}


def test_the_last_line_of_a_key_counts(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    mended = StoredAnswer("bb", "A tale.", None, 2)
    write(path, SECOND, FIRST, mended)
    assert read_answers(path)["bb"] == mended


@pytest.mark.parametrize("torn_bytes", [1, 10, 40])
def test_a_torn_last_line_is_passed_over_and_doesnt_spoil_the_next(
    tmp_path: Path, torn_bytes: int
) -> None:
    path = tmp_path / "answers.jsonl"
    write(path, FIRST, SECOND)
    path.write_bytes(path.read_bytes()[:-torn_bytes])
    third = StoredAnswer("cc", "A third.", None, 1)
    write(path, third)
    found = read_answers(path)
    assert (found["aa"], found["cc"]) == (FIRST, third)
    # Only the newline was torn off: then the answer itself is whole.
    assert ("bb" in found) == (torn_bytes == 1)


def test_a_file_that_is_not_there_holds_nothing(tmp_path: Path) -> None:
    assert read_answers(tmp_path / "none.jsonl") == {}


def test_a_damaged_bundled_file_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(b"{}")[:-5])
    with pytest.raises(InputError, match=r"a\.jsonl\.gz"):
        read_bundled(tmp_path)


def test_everything_that_shapes_an_answer_is_in_its_key() -> None:
    base = KnowledgeConfig()
    changed = [
        base.model_copy(update=change)
        for change in (
            {"model": "other"},
            {"item_kind": "film"},
            {"max_new_tokens": 65},
            {"temperature": 0.5},
            {"repetition_penalty": 1.3},
            {"seed": 1},
        )
    ]
    keys = {answer_key(config, TEMPLATE, "Title: A") for config in [base, *changed]}
    keys.add(answer_key(base, TEMPLATE, "Title: B"))
    keys.add(
        answer_key(base, PromptTemplate("v2", TEMPLATE.ask, TEMPLATE.answer_begins), "Title: A")
    )
    keys.add(answer_key(base, PromptTemplate("v1", TEMPLATE.ask, "It is"), "Title: A"))
    assert len(keys) == len(changed) + 4


def test_settings_that_do_not_shape_an_answer_are_not_in_its_key() -> None:
    other = KnowledgeConfig(batch_size=3, retries=9, timeout_s=1, concurrency=1, device="cpu")
    key = answer_key(KnowledgeConfig(), TEMPLATE, "Title: A")
    assert answer_key(other, TEMPLATE, "Title: A") == key


def test_every_bundled_answer_is_sound_or_names_its_flaw() -> None:
    bundled = read_bundled(BUNDLED)
    assert len(bundled) > 1600
    begins = TEMPLATE.fill("", "film").answer_begins
    for answer in bundled.values():
        if answer.flaw is not None:
            assert answer.knowledge == ""
            continue
        assert answer.knowledge == trim_to_sentence(answer.knowledge)
        assert find_flaw(answer.knowledge, begins, "") is None
    usable = sum(answer.flaw is None for answer in bundled.values())
    assert usable / len(bundled) > 0.98


def test_packed_answers_are_the_same_bytes_whatever_their_order(tmp_path: Path) -> None:
    pack_answers(tmp_path / "a.jsonl.gz", [FIRST, SECOND])
    pack_answers(tmp_path / "b.jsonl.gz", [SECOND, FIRST])
    assert (tmp_path / "a.jsonl.gz").read_bytes() == (tmp_path / "b.jsonl.gz").read_bytes()
    assert read_bundled(tmp_path) == {"aa": FIRST, "bb": SECOND}
