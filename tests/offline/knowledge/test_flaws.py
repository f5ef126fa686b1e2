import pytest
from hypothesis import given
from hypothesis import strategies as st

from offline.knowledge.flaws import Flaw, find_flaw, trim_to_sentence

BEGIN = "This film appeals to people who enjoy"
ASK = (
    "Title: Toy Story\nGenres: Comedy\n\n"
    "What is this film about, and what kind of person likes it and why?"
)

SOUND = [
    f"{BEGIN} humor, adventure and comedy. It's a classic Disney-themed animated film.",
    f"{BEGIN} tales. Snow White and the Seven Dwarfs is how Snow White and the Seven Dwarfs win.",
    f"{BEGIN} a good thriller with a twist at its very end. It is by Michael B. Jackson and goes",
]
FLAWED = [
    ("", Flaw.EMPTY),
    (BEGIN, Flaw.EMPTY),
    (f"{BEGIN}   \n", Flaw.EMPTY),
    (f"{BEGIN} fun.", Flaw.TOO_SHORT),
    (f"{BEGIN} films. And then it goes on and on without ever coming to", Flaw.TOO_SHORT),
    (f"{BEGIN} a long walk through the woods with all of their friends and", Flaw.UNFINISHED),
    (f"{BEGIN} it. " + "It's a classic thriller about a serial killer. " * 5, Flaw.LOOP),
    ("very " * 30 + ".", Flaw.LOOP),
    (f"{BEGIN} this: {ASK} {ASK[:20]}", Flaw.PROMPT_ECHO),
    ("I'm sorry, but I can't assist with that request about this film.", Flaw.REFUSAL),
    ("As an AI, I do not watch films, and so I have no opinion about this one.", Flaw.REFUSAL),
    ("I am unable to provide a description of this film at the moment, sir.", Flaw.REFUSAL),
]


@pytest.mark.parametrize("answer", SOUND)
def test_a_sound_answer_has_no_flaw(answer: str) -> None:
    assert find_flaw(answer, BEGIN, ASK) is None


@pytest.mark.parametrize(("answer", "flaw"), FLAWED)
def test_a_degenerate_answer_is_recognised(answer: str, flaw: Flaw) -> None:
    assert find_flaw(answer, BEGIN, ASK) is flaw


@pytest.mark.parametrize(
    ("text", "trimmed"),
    [
        ("One. Two", "One."),
        ("One!\n\nTwo? Three", "One! Two?"),
        ('He said "stop." Then he', 'He said "stop."'),
        ("It stars Mr. Holland and", ""),
        ("Good fun. It stars Michael B. Jackson and", "Good fun."),
        ("It cost 3.50 dollars", ""),
        ("", ""),
    ],
)
def test_a_broken_off_answer_ends_at_its_last_full_sentence(text: str, trimmed: str) -> None:
    assert trim_to_sentence(text) == trimmed


@given(st.text(alphabet=st.sampled_from("aB .!?\n\"')é"), max_size=60))
def test_trimming_takes_from_the_end_only_and_once(text: str) -> None:
    trimmed = trim_to_sentence(text)
    assert " ".join(text.split()).startswith(trimmed)
    assert trim_to_sentence(trimmed) == trimmed


@given(st.text(max_size=200))
def test_no_answer_is_too_odd_to_judge(text: str) -> None:
    flaw = find_flaw(text, BEGIN, ASK)
    assert flaw is not None or trim_to_sentence(text)
