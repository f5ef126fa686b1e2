"""Thoughts before the answer (E3)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offline.knowledge.config import KnowledgeConfig
from offline.knowledge.endpoint.completion import read_completion
from offline.knowledge.flaws import Flaw
from offline.knowledge.generation import generate_knowledge
from offline.knowledge.thinking import without_thinking
from offline.knowledge.usability import UnusableAnswers
from tests.offline.knowledge.chat_endpoint import completion, sentence, serving_endpoint
from tests.offline.knowledge.stand_ins import texts_of

ANSWER = "This film is for people who enjoy toys."


# gpt-oss, with all of its special tokens.
HARMONY = (
    "<|channel|>analysis<|message|>hm<|end|><|start|>assistant"
    f"<|channel|>final<|message|>{ANSWER}<|return|>"
)


@pytest.mark.parametrize(
    "text",
    [
        ANSWER,
        f"<think>Let me see.</think>{ANSWER}",
        f"<think>\n\n</think>\n\n{ANSWER}",
        f"<THINKING>\nhm\n</THINKING>\n{ANSWER}",
        f'<think time="3">a < b and a > c</think> {ANSWER}',
        f"The template opened it.</think>\n{ANSWER}",
        f"<think>one</think><think>two</think>{ANSWER}",
        f"<think>an <think> inside </think> of it</think> {ANSWER}",
        f"<thought>hm</thought>{ANSWER}",
        f"<reasoning>hm</reasoning>\n{ANSWER}",
        f"[THINK]hm[/THINK]{ANSWER}",
        f"◁think▷hm◁/think▷{ANSWER}",
        HARMONY,
        f"analysisWe need to say what it is.assistantfinal{ANSWER}",
    ],
)
def test_thoughts_are_cut(text: str) -> None:
    assert without_thinking(text) == ANSWER


@pytest.mark.parametrize(
    "text",
    [
        "<think>Let me see",
        "<think>",
        "<think>one</think>\n<think>two",
        "[THINK]hm",
        "◁think▷hm",
        "<|channel|>analysis<|message|>We need",
    ],
)
def test_an_unfinished_thought_is_no_answer(text: str) -> None:
    assert without_thinking(text) is None


@given(st.text(alphabet="a<>/[]|think ", max_size=40))
def test_a_text_without_marks_stays_as_it_is(text: str) -> None:
    if "think>" not in text and "<think" not in text and "think]" not in text.lower():
        assert without_thinking(text) == text


def parts(*found: tuple[str, str]) -> list[dict[str, Any]]:
    return [{"type": kind, kind: text} for kind, text in found]


@pytest.mark.parametrize(
    ("content", "message", "flaw"),
    [
        (ANSWER, {}, None),
        (ANSWER, {"reasoning_content": "hm"}, None),
        (f"<think>hm</think>{ANSWER}", {}, None),
        (parts(("thinking", "hm"), ("text", ANSWER)), {}, None),
        (parts(("text", ANSWER[:9]), ("text", ANSWER[9:])), {}, None),
        ("<think>hm", {}, Flaw.UNFINISHED_THINKING),
        (None, {"reasoning_content": "hm"}, Flaw.UNFINISHED_THINKING),
        ("", {"reasoning": "hm"}, Flaw.UNFINISHED_THINKING),
        ("\n\n", {"reasoning_content": "hm"}, Flaw.UNFINISHED_THINKING),
        (parts(("thinking", "hm")), {}, Flaw.UNFINISHED_THINKING),
        (None, {}, Flaw.EMPTY),
        ("", {"reasoning_content": None}, Flaw.EMPTY),
    ],
)
def test_an_answer_is_found_in_a_message(
    content: Any, message: dict[str, Any], flaw: Flaw | None
) -> None:
    _, document = completion(content, **message)
    answer = read_completion(document)
    assert answer.flaw is flaw
    assert answer.text.strip() == ("" if flaw else ANSWER)


ONLY_THOUGHTS: dict[str, Any] = {
    "content that never ends thinking": completion("<think>Hm, let me see. A film", "length"),
    "no content": completion(None, "length", reasoning_content="Hm, let me see."),
}


@pytest.mark.parametrize("reply", ONLY_THOUGHTS.values(), ids=ONLY_THOUGHTS)
@pytest.mark.parametrize("n_items", [2, 30])
def test_a_run_whose_answers_are_thoughts_ends_and_says_why(
    tmp_path: Path, reply: Any, n_items: int
) -> None:
    texts = texts_of(*[f"film {number}" for number in range(n_items)])
    with serving_endpoint() as endpoint:
        endpoint.answers = lambda _: reply
        config = KnowledgeConfig(model="r1", base_url=endpoint.url, concurrency=5)
        with pytest.raises(UnusableAnswers, match=r"unfinished_thinking.*max_new_tokens") as caught:
            generate_knowledge(texts, config, tmp_path)
        assert "\n" not in str(caught.value)
        assert len(endpoint.requests) <= 20
        # None of it is held against the items once the server has been put right.
        endpoint.answers = lambda _: None
        knowledge, report = generate_knowledge(texts, config, tmp_path)
    assert all(knowledge.texts)
    assert (report.from_cache, report.generated) == (0, n_items)


def test_a_run_goes_on_where_most_answers_can_be_used(tmp_path: Path) -> None:
    texts = texts_of(*[f"film {number}" for number in range(30)])
    with serving_endpoint() as endpoint:
        endpoint.answers = lambda request: (
            ONLY_THOUGHTS["no content"]
            if any(f"film {n}\n" in request["messages"][0]["content"] for n in range(9))
            else completion(f"<think>hm</think>{sentence(request)}")
        )
        config = KnowledgeConfig(model="r1", base_url=endpoint.url, retries=0)
        knowledge, report = generate_knowledge(texts, config, tmp_path)
    assert report.without_knowledge == {Flaw.UNFINISHED_THINKING: 9}
    assert "hm" not in " ".join(knowledge.texts)


def test_a_rejected_share_can_be_allowed(tmp_path: Path) -> None:
    texts = texts_of(*[f"film {number}" for number in range(30)])
    with serving_endpoint() as endpoint:
        endpoint.answers = lambda _: ONLY_THOUGHTS["no content"]
        config = KnowledgeConfig(model="r1", base_url=endpoint.url, retries=0, min_usable=0)
        knowledge, report = generate_knowledge(texts, config, tmp_path)
    assert not any(knowledge.texts)
    assert report.without_knowledge == {Flaw.UNFINISHED_THINKING: 30}


def test_a_reason_of_the_endpoint_is_in_the_line(tmp_path: Path) -> None:
    texts = texts_of(*[f"film {number}" for number in range(30)])
    with serving_endpoint() as endpoint:
        endpoint.answers = lambda _: (400, {"error": {"code": "content_filter", "message": "No!"}})
        config = KnowledgeConfig(model="r1", base_url=endpoint.url)
        with pytest.raises(UnusableAnswers, match=r"filtered \d+.*the last one: status 400: No!"):
            generate_knowledge(texts, config, tmp_path)
