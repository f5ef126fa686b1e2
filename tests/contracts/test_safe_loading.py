"""Nothing that is read from a file may run code: no pickles, no eval, arrays without objects."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.contracts.tree import (
    CLIENT,
    EXAMPLES,
    PACKAGES,
    ROOT,
    imports_in,
    python_files,
    syntax_of,
)

EXECUTABLE_FORMATS = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve"}
EXECUTABLE_FORMATS |= {"marshal", "jsonpickle"}
CODE = python_files(*PACKAGES, CLIENT, EXAMPLES, "longtail.py")


def calls_in(tree: ast.Module) -> Iterator[tuple[str, ast.Call]]:
    """Each call with its dotted name, as it is written."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
            yield ast.unparse(node.func), node


def option(call: ast.Call, name: str) -> object:
    """Value of a keyword that is given as a constant, else None."""
    for keyword in call.keywords:
        if keyword.arg == name and isinstance(keyword.value, ast.Constant):
            return keyword.value.value
    return None


def find_unsafe_calls(tree: ast.Module) -> list[str]:
    """Calls that execute, or could execute, the content of files."""
    rules: dict[str, Callable[[ast.Call], bool]] = {
        "eval": lambda _: True,
        "exec": lambda _: True,
        "torch.load": lambda call: option(call, "weights_only") is not True,
        "np.load": lambda call: option(call, "allow_pickle") is not False,
        "numpy.load": lambda call: option(call, "allow_pickle") is not False,
        "np.save": lambda call: option(call, "allow_pickle") is not False,
        "np.lib.format.read_array": lambda call: option(call, "allow_pickle") is not False,
        "yaml.load": lambda _: True,
        "os.system": lambda _: True,
    }
    calls = list(calls_in(tree))
    found = [
        f"line {call.lineno}: {name}" for name, call in calls if name in rules and rules[name](call)
    ]
    return found + [
        f"line {call.lineno}: {name} with trust_remote_code"
        for name, call in calls
        if option(call, "trust_remote_code") is True or option(call, "shell") is True
    ]


def test_there_is_code_to_check() -> None:
    assert len(CODE) > 50
    assert ROOT / "longtail.py" in CODE


@pytest.mark.parametrize(
    "snippet",
    [
        "eval('1')",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "np.load(path)",
        "np.load(path, allow_pickle=True)",
        "subprocess.run(text, shell=True)",
        "AutoModel.from_pretrained(name, trust_remote_code=True)",
    ],
)
def test_an_unsafe_call_is_found(snippet: str) -> None:
    assert find_unsafe_calls(ast.parse(snippet))


@pytest.mark.parametrize(
    "snippet",
    ["model.eval()", "torch.load(path, weights_only=True)", "np.load(path, allow_pickle=False)"],
)
def test_a_safe_call_is_not(snippet: str) -> None:
    assert not find_unsafe_calls(ast.parse(snippet))


@pytest.mark.parametrize("path", CODE, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_that_is_read_can_run_code(path: Path) -> None:
    syntax = syntax_of(path)
    assert find_unsafe_calls(syntax) == []
    modules = {module.partition(".")[0] for module, _ in imports_in(syntax)}
    assert modules & EXECUTABLE_FORMATS == set()
