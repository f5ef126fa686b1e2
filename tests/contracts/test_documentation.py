"""The documentation is checked like code: the things it names exist, and all are named."""

from __future__ import annotations

import argparse
import contextlib
import io
import re
import runpy
import subprocess
import sys
from functools import cache

import pytest

from tests.contracts.command_reference import FILE, leaves, render_commands
from tests.contracts.markdown import Command, commands, documents, named_paths
from tests.contracts.tree import CLIENT, EXAMPLES, PACKAGES, ROOT, is_generated, python_files

VARIABLE = re.compile(r"\bLONGTAIL_[A-Z][A-Z0-9_]*\b")
FLAG = re.compile(r"--[a-z][a-z0-9-]*")
COMMANDS = commands()


def variables_in(text: str) -> set[str]:
    return set(VARIABLE.findall(text))


@cache
def documented_variables() -> frozenset[str]:
    return frozenset(variables_in("\n".join(path.read_text() for path in documents())))


@cache
def known_variables() -> frozenset[str]:
    """The service's settings, and every variable that a package's code names."""
    from app.settings import PREFIX, Settings

    code = "\n".join(
        path.read_text() for path in python_files(*PACKAGES, CLIENT, EXAMPLES, "longtail.py")
    )
    return frozenset({PREFIX + name.upper() for name in Settings.model_fields} | variables_in(code))


def test_there_is_documentation() -> None:
    assert [path.name for path in documents() if not path.exists()] == []
    assert (ROOT / "CHANGELOG.md").exists()
    assert (ROOT / "docs" / "log" / "README.md").exists()
    assert {command.words[0] for command in COMMANDS} == {"longtail", "make", "python"}


def test_every_variable_is_documented() -> None:
    assert known_variables() - documented_variables() == set()


def test_every_documented_variable_exists() -> None:
    assert documented_variables() - known_variables() == set()


@cache
def command_parser() -> argparse.ArgumentParser:
    from longtail import build_parser

    return build_parser()


def find_subparser(words: tuple[str, ...]) -> tuple[argparse.ArgumentParser, list[str]]:
    """The parser that is responsible for a longtail command, and its name's words."""
    parser, name = command_parser(), []
    for word in words:
        actions = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
        if not actions or word.startswith("-"):
            break
        if word not in actions[0].choices:
            raise AssertionError(f"longtail has no command {' '.join([*name, word])!r}")
        parser = actions[0].choices[word]
        name.append(word)
    return parser, name


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.words[0] == "longtail"], ids=str)
def test_longtail_commands_of_the_documents_exist(
    command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    """A command in a block is parsed as it stands; a mention must name what there is."""
    parser, _ = find_subparser(command.words[1:])
    known = {option for action in parser._actions for option in action.option_strings}
    for word in command.words[1:]:
        if flag := FLAG.match(word):
            assert flag.group() in known
    if command.whole and "--help" not in command.words and "--version" not in command.words:
        try:
            command_parser().parse_args(command.words[1:])
        except SystemExit:
            pytest.fail(capsys.readouterr().err)


def test_the_documented_recipes_are_those_that_come_along() -> None:
    from offline.recipe import recipe_names

    _, _, table = (ROOT / "docs" / "recipes.md").read_text().partition("| recipe | what it is |")
    first_cells = re.findall(r"^\| (`.+?) \|", table.partition("\n\n")[0], re.MULTILINE)
    named = re.findall(r"`([\w-]+)`", " ".join(first_cells))
    assert sorted(named) == recipe_names()


def all_command_names(parser: argparse.ArgumentParser, name: tuple[str, ...] = ()) -> list[str]:
    names = []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for word, child in action.choices.items():
                names += [" ".join((*name, word)), *all_command_names(child, (*name, word))]
    return names


def test_the_contracts_commands_are_there() -> None:
    names = set(all_command_names(command_parser()))
    assert names >= {"build", "evaluate", "publish", "serve", "rerank"}
    actions = ("list", "show", "activate", "canary", "shadow", "promote", "rollback", "retire")
    assert names >= {f"models {action}" for action in (*actions, "compare")}
    assert names >= {f"rules {action}" for action in ("apply", "show", "rollback")}


@pytest.mark.parametrize("name", all_command_names(command_parser()))
def test_every_command_has_help_with_an_example(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        command_parser().parse_args([*name.split(), "--help"])
    assert ended.value.code == 0
    assert f"longtail {name.split()[0]}" in capsys.readouterr().out.partition("example")[2]


@pytest.mark.parametrize("name", all_command_names(command_parser()))
def test_every_command_is_documented(name: str) -> None:
    """By a page that was written, not only in the reference."""
    reference = str(FILE.relative_to(ROOT))
    documented = {
        " ".join(c.words[1:]) for c in COMMANDS if c.words[0] == "longtail" and c.where != reference
    }
    assert any(words == name or words.startswith(f"{name} ") for words in documented)


def test_the_command_reference_is_current() -> None:
    written = "python -m tests.contracts.command_reference writes it"
    assert FILE.read_text() == render_commands(), written


def test_every_argument_has_help_that_states_its_default() -> None:
    """A default of none, of no values, or of a switch that is off needs no word."""
    missing = []
    for name, parser in leaves(command_parser()):
        for action in parser._actions:
            text = parser._get_formatter()._expand_help(action) if action.help else ""
            has_default = action.default not in (None, False, argparse.SUPPRESS, [], "")
            words = {word.rstrip(".,:") for word in WORD.findall(text)}
            if not text or (has_default and not stated(action.default) & words):
                missing.append(f"{name} {action.dest}")
    assert missing == []


WORD = re.compile(r"[\w./:,-]+")


def stated(default: object) -> set[str]:
    """How a help text may state a default."""
    if isinstance(default, float):
        return {f"{default:g}", str(default), f"{default:g}s"}
    return {"yes"} if default is True else {str(default)}


@cache
def makefile() -> str:
    return (ROOT / "Makefile").read_text()


@cache
def make_targets() -> frozenset[str]:
    return frozenset(re.findall(r"^([a-z][\w-]*):(?!=)", makefile(), re.MULTILINE))


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.words[0] == "make"], ids=str)
def test_make_commands_of_the_documents_exist(command: Command) -> None:
    for word in command.words[1:]:
        variable, is_assignment, _ = word.partition("=")
        if is_assignment:
            assert re.search(rf"^{variable}\s*[?:]?=", makefile(), re.MULTILINE), variable
        elif re.fullmatch(r"[a-z][\w-]*", word):
            assert word in make_targets()


def test_the_contracts_make_targets_are_there() -> None:
    assert make_targets() >= {"demo", "test", "install", "check", "bench"}


@cache
def help_of(module: str) -> str:
    """What `python -m` of a module says with --help."""
    if module.partition(".")[0] not in ("loadtest", "locust"):  # which replace parts of the library
        # In this process, where torch is loaded once for all tests.
        said = io.StringIO()
        with (
            pytest.MonkeyPatch.context() as patch,
            contextlib.redirect_stdout(said),
            pytest.raises(SystemExit) as ended,
        ):
            patch.setattr(sys, "argv", [module, "--help"])
            runpy.run_module(module, run_name="__main__")
        assert ended.value.code == 0
        return said.getvalue()
    done = subprocess.run(
        [sys.executable, "-m", module, "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.words[0] == "python"], ids=str)
def test_python_commands_of_the_documents_exist(command: Command) -> None:
    if command.words[1:2] != ("-m",):
        assert (ROOT / command.words[1]).exists()
        return
    known = set(FLAG.findall(help_of(command.words[2])))
    if command.words[2] == "locust":  # its own help leaves out what the locust files add
        known |= set(FLAG.findall(help_of("loadtest.run")))
    assert {flag.group() for word in command.words[3:] if (flag := FLAG.match(word))} <= known


def test_every_path_of_the_documents_exists() -> None:
    missing = [
        f"{where}: {text}"
        for where, text, path in named_paths()
        if not is_generated(path) and not path.exists()
    ]
    assert missing == []


def test_the_recipe_reference_is_current() -> None:
    from offline.recipe_reference import render_reference

    page = (ROOT / "docs" / "recipe-reference.md").read_text()
    assert page == render_reference(), "python -m offline.recipe_reference writes it"
