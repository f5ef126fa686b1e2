"""Reads the documentation: its commands, paths and variables."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.contracts.tree import EXAMPLES, PACKAGES, ROOT, source_files

FENCE = re.compile(r"^( *)```(\w*)[^\n]*\n(.*?)^\1```", re.DOTALL | re.MULTILINE)
INLINE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
LINK = re.compile(r"\]\(([^)\s]+)\)")
SHELLS = {"", "sh", "bash", "shell", "console", "text"}
PROGRAMS = {"longtail", "make", "python"}


@dataclass(frozen=True)
class Command:
    """One command of the documentation, its words apart; `whole` if it can be typed as it is."""

    where: str
    words: tuple[str, ...]
    whole: bool

    def __str__(self) -> str:
        return f"{self.where}: {shlex.join(self.words)}"


def documents() -> list[Path]:
    """README, docs/ and the packages' own READMEs."""
    pages = [path for path in source_files() if path.suffix == ".md"]
    found = [ROOT / "README.md", *(path for path in pages if path.is_relative_to(ROOT / "docs"))]
    return found + [
        path
        for package in (*PACKAGES, EXAMPLES, "clients")
        for path in pages
        if path.name == "README.md" and path.is_relative_to(ROOT / package)
    ]


def commands() -> list[Command]:
    """Every command of longtail, make or python that the documents give."""
    found: list[Command] = []
    for document in documents():
        where, text = str(document.relative_to(ROOT)), document.read_text()
        for _, language, block in FENCE.findall(text):
            if language in SHELLS:
                for line in re.sub(r"\\\n\s*", " ", block).splitlines():
                    found += _read_commands(where, line, whole=True)
        for code in INLINE.findall(FENCE.sub("", text)):
            found += _read_commands(where, code, whole=False)
    return list(dict.fromkeys(found))


def _read_commands(where: str, line: str, *, whole: bool) -> Iterator[Command]:
    try:
        lexer = shlex.shlex(line.strip().removeprefix("$ "), posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        words = list(lexer)
    except ValueError:  # part of a longer text in quotes
        return
    for part in _split(words, {"|", "&&", "||", ";", "&", ">", ">>", "<"}):
        while part and (re.fullmatch(r"[A-Z_]+=.*", part[0]) or part[0] in {"nice", "time"}):
            part = part[1:]  # noqa: PLW2901 - words before a command
        if part and (program := part[0].removeprefix(".venv/bin/")) in PROGRAMS:
            yield Command(where, (program, *part[1:]), whole)


def _split(words: list[str], marks: set[str]) -> Iterator[list[str]]:
    part: list[str] = []
    for word in words:
        if word in marks:
            yield part
            part = []
        else:
            part.append(word)
    yield part


def named_paths() -> Iterator[tuple[str, str, Path]]:
    """Each path a document links to or names: the document, the text, where it must be."""
    top_level = {path.name for path in ROOT.iterdir()}
    for document in documents():
        where, text = str(document.relative_to(ROOT)), FENCE.sub("", document.read_text())
        for target in LINK.findall(text):
            if not target.startswith(("http://", "https://", "#", "mailto:")):
                yield where, target, document.parent / target.partition("#")[0]
        for code in INLINE.findall(text):
            parts = code.split("/")
            if len(parts) > 1 and parts[0] in top_level and re.fullmatch(r"[\w./-]+", code):
                yield where, code, ROOT / code
