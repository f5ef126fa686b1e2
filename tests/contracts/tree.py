"""The files of the project as a checkout has them, without those of builds and runs."""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("app", "loadtest", "model_store", "offline")
CLIENT = "clients/python/src"
"""Folder of the Python client's package, which is a project of its own."""
EXAMPLES = "examples"
"""Programs that use Longtail as its users do; no part of what is installed."""
GENERATED = tuple(
    ROOT / path
    for path in (
        *("build", "builds", "dist", ".venv", ".git", "loadtest/results"),
        *("model_store/bundles", "model_store/store"),
        *("clients/typescript/node_modules", "clients/typescript/dist"),
    )
)


def is_generated(path: Path) -> bool:
    """Whether a path lies where only builds and runs write."""
    return any(path.is_relative_to(folder) for folder in GENERATED)


@cache
def source_files() -> tuple[Path, ...]:
    """All files under version control, and new ones."""
    folders = (*PACKAGES, "clients", EXAMPLES, "tests", "docs", "deploy", ".ci")
    found = [path for path in ROOT.iterdir() if path.is_file() and not is_generated(path)]
    for name in folders:
        for folder, below, files in os.walk(ROOT / name):
            # What is not walked needs no look at each of its files: modules of npm are thousands.
            below[:] = [one for one in below if not _is_made(Path(folder, one))]
            found += [path for file in files if (path := Path(folder, file)).is_file()]
    return tuple(sorted(path for path in found if path.suffix != ".pyc"))


def _is_made(folder: Path) -> bool:
    """Whether a folder holds what Python, its packaging, builds or runs make."""
    return folder.name == "__pycache__" or folder.name.endswith(".egg-info") or is_generated(folder)


def source_texts() -> Iterator[tuple[str, str]]:
    """Relative path and content of each file that is text."""
    for path in source_files():
        try:
            yield str(path.relative_to(ROOT)), path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue


def python_files(*folders: str) -> list[Path]:
    """Python files in folders of the project, and files named themselves (longtail.py)."""
    inside = tuple(ROOT / folder for folder in folders)
    return [
        path
        for path in source_files()
        if path.suffix == ".py" and any(path.is_relative_to(folder) for folder in inside)
    ]


def syntax_of(path: Path) -> ast.Module:
    """The file's syntax tree."""
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


@cache
def imports_of(path: Path) -> tuple[tuple[str, str | None], ...]:
    """Each import anywhere in a file: the module, and the name taken from it (None: all of it)."""
    return tuple(imports_in(syntax_of(path)))


# What can hold an import, which is a statement; most of a file is expressions.
STATEMENTS = (ast.stmt, ast.ExceptHandler, ast.match_case)


def imports_in(syntax: ast.AST) -> Iterator[tuple[str, str | None]]:
    """Each import anywhere in a syntax tree, as `imports_of` gives them."""
    for node in ast.iter_child_nodes(syntax):
        if isinstance(node, STATEMENTS):
            yield from imports_in(node)
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, None
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                yield node.module, alias.name
