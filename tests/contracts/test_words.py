"""The project uses the field's terms: names and phrases that were replaced don't come back."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contracts.tree import (
    CLIENT,
    EXAMPLES,
    PACKAGES,
    ROOT,
    python_files,
    source_texts,
    syntax_of,
)

RETIRED_NAME = re.compile(
    r"(^|_)(rooms?|loners?|give_way|undisturbed|beside|overdue|flips?|chances?|kin|say|complaints?"
    r"|complain|declaration|thorough|sighting|shut|refused?|refusals?)(_|$)"
    r"|^(LEAST|MOST)_|_(LEAST|MOST)_",
    re.IGNORECASE,
)
# A key of recipes, and the flaw of an answer in which a language model declines.
ALLOWED_NAMES = {"knowledge_beside_ids", "REFUSAL"}

RETIRED_PHRASES = {
    "rooms": "packages",
    "loners?": "outliers",
    "giv(?:e|es|ing) way": "yield the CPU",
    "undisturbed": "a name that says what is paused",
    "kin": "(leave out)",
    r"refus\w*": "exclude (an item), reject (a version), reject by overload (a request)",
    r"complain\w*": "issue, report",
    "overdue": "timed out",
    "flips|flipped": "swap",
    "shipped": "bundled",
    "by chance": "at random",
    "(?:in|by|takes?|taking) turns": "alternately",
    "turns? of the loop": "loop iteration",
    "the loop turns": "the loop iterates",
    "(?:is|are|was|be) had (?:by|with|from)": "a plain sentence",
}
PHRASE = re.compile(
    "|".join(rf"\b(?:{phrase})\b".replace(" ", r"[\s#]+") for phrase in RETIRED_PHRASES),
    re.IGNORECASE,
)
READ_SUFFIXES = {".py", ".md", ".toml", ".yaml", ".yml", ".ini", ""}
NOT_READ = {"LICENSE", "tests/contracts/test_words.py"}
# An answer in which a language model declines to answer is called a refusal in the field.
ALLOWED_PHRASES = {
    "offline/knowledge/endpoint/completion.py": {"refusal"},  # also a field of the protocol
    "offline/knowledge/flaws.py": {"refusal"},
    "tests/offline/knowledge/endpoint/test_model.py": {"refusal"},
    "tests/offline/knowledge/test_flaws.py": {"refusal"},
    "tests/offline/knowledge/test_generation.py": {"refusal"},
}


def names_of(path: Path) -> set[str]:
    """The names that a file defines: its own, functions, classes, parameters, variables."""
    names = {path.stem, *path.relative_to(ROOT).parts[:-1]}
    for node in ast.walk(syntax_of(path)):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                names.add(node.name)
            case ast.arg():
                names.add(node.arg)
            case ast.Name(ctx=ast.Store()):
                names.add(node.id)
            case ast.Attribute(ctx=ast.Store()):
                names.add(node.attr)
    return names


def find_phrases(text: str) -> Iterator[tuple[int, str]]:
    """Retired phrases of a text, with their lines; a phrase may go over the end of a line."""
    for found in PHRASE.finditer(text):
        yield text.count("\n", 0, found.start()) + 1, re.sub(r"[\s#]+", " ", found.group())


@pytest.mark.parametrize("name", ["give_way", "n_loners", "LEAST_ITEMS", "room"])
def test_retired_names_are_recognised(name: str) -> None:
    assert RETIRED_NAME.search(name)


@pytest.mark.parametrize("name", ["background", "at_least", "kind", "mushroom", "chanced"])
def test_other_names_are_not(name: str) -> None:
    assert not RETIRED_NAME.search(name)


def test_phrases_are_recognised_also_over_two_lines() -> None:
    text = "one\n# answers that give\n    # way to others, and\nROOMS of their own; kind and skin"
    assert list(find_phrases(text)) == [(2, "give way"), (4, "ROOMS")]


def test_no_retired_name_is_in_use() -> None:
    found = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in python_files(*PACKAGES, CLIENT, EXAMPLES, "longtail.py")
        for name in names_of(path) - ALLOWED_NAMES
        if RETIRED_NAME.search(name)
    }
    assert found == set()


def test_no_retired_phrase_is_in_code_or_documents() -> None:
    found = [
        f"{path}:{line}: {phrase!r}"
        for path, text in source_texts()
        if Path(path).suffix in READ_SUFFIXES and path not in NOT_READ
        for line, phrase in find_phrases(text)
        if phrase.lower() not in ALLOWED_PHRASES.get(path, set())
    ]
    assert found == []
