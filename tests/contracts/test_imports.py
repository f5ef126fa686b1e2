"""Which room may import what."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.contracts.tree import PACKAGES, ROOT, imports_of, python_files

IMPORT_LINTER = [
    sys.executable,
    *("-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"),
    *("--no-logo", "--no-cache"),
]


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        IMPORT_LINTER,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_import_rules_hold() -> None:
    done = lint_imports(ROOT)
    assert done.returncode == 0, done.stdout[-3_000:] + done.stderr[-1_000:]


def test_every_import_rule_breaks_when_it_is_broken(tmp_path: Path) -> None:
    """Plant one forbidden import for each rule in a copy of the tree."""
    for room in PACKAGES:
        ignored = shutil.ignore_patterns("__pycache__", "bundles", "store", "results")
        shutil.copytree(ROOT / room, tmp_path / room, ignore=ignored)
    shutil.copy(ROOT / ".importlinter", tmp_path)
    plants = {
        "app/planted.py": "import faiss\nimport onnxruntime\nimport redis\n"
        "import torch\nimport offline.fetch\n",
        "loadtest/planted.py": "import model_store.keys\n",
        "model_store/planted.py": "import fastapi\n",
        "offline/planted.py": "import app.main\n",
    }
    for path, content in plants.items():
        (tmp_path / path).write_text(content)
    done = lint_imports(tmp_path)
    assert done.returncode == 1, done.stderr
    verdicts = [line for line in done.stdout.splitlines() if line.endswith(("KEPT", "BROKEN"))]
    verdicts += [
        line for line in done.stdout.splitlines() if "KEPT (" in line or "BROKEN (" in line
    ]
    assert len(verdicts) == (ROOT / ".importlinter").read_text().count("[importlinter:contract:")
    assert [line for line in verdicts if "KEPT" in line] == []


def test_starting_the_service_loads_no_torch() -> None:
    """In a fresh process: what is imported lazily or by libraries counts too."""
    script = (
        "import sys, app.main\n"
        "heavy = {'torch', 'transformers', 'offline', 'loadtest', 'polars', 'locust'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def importers_of(*modules: str) -> set[str]:
    """Files of app that import one of these modules."""
    return {
        str(path.relative_to(ROOT))
        for path in python_files("app")
        for module, _ in imports_of(path)
        if module.partition(".")[0] in modules
    }


def test_only_inference_uses_onnxruntime() -> None:
    assert importers_of("onnxruntime") == {"app/model/inference.py"}


def test_only_candidates_use_faiss() -> None:
    assert importers_of("faiss") == {"app/model/candidates.py"}


def test_redis_is_known_to_the_feature_store_only() -> None:
    """Its connection is a module of its own, and nobody else opens one."""
    behind = {"app/store/feature_store.py", "app/store/connection.py"}
    found = importers_of("redis", "hiredis")
    assert found
    assert found <= behind
    openers = {
        str(path.relative_to(ROOT))
        for path in python_files("app")
        for module, name in imports_of(path)
        if module == "app.store.connection" and name != "Command"
    }
    assert openers <= behind


@pytest.mark.parametrize("command", [["--help"], ["build", "--help"], ["models", "list", "--help"]])
def test_the_command_line_answers_without_loading_anything_heavy(command: list[str]) -> None:
    script = (
        "import sys, longtail\n"
        "try: longtail.main(sys.argv[1:])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'transformers', 'polars', 'locust', 'onnxruntime', 'fastapi'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *command],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr.strip() == "[]"
    assert "usage:" in done.stdout
