"""The import rules between packages."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from tests.contracts.tree import (
    CLIENT,
    EXAMPLES,
    PACKAGES,
    ROOT,
    imports_of,
    is_generated,
    python_files,
)

IMPORT_LINTER = [
    sys.executable,
    *("-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"),
    *("--no-logo", "--no-cache"),
]


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        IMPORT_LINTER,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{folder / CLIENT}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_import_rules_hold() -> None:
    done = lint_imports(ROOT)
    assert done.returncode == 0, done.stdout[-3_000:] + done.stderr[-1_000:]


# Packages from the lowest up, one of each layer; app.cli starts one of those next to each other.
LAYERS = {
    "app": (
        *("telemetry", "store", "model", "deployment", "reranking", "recommend", "overload"),
        *("service", "http", "main", "serve", "cli"),
    ),
    "offline": (
        *("progress", "fetch", "training", "data", "metrics", "recommender", "instruction"),
        *("evaluate", "stages", "learning", "build", "cli"),
    ),
}


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """A copy of the tree to plant forbidden imports in."""

    def ignored(folder: str, names: list[str]) -> list[str]:
        return [
            name for name in names if name == "__pycache__" or is_generated(Path(folder) / name)
        ]

    for package in (*PACKAGES, CLIENT, EXAMPLES):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=ignored)
    shutil.copy(ROOT / ".importlinter", tmp_path)
    return tmp_path


def verdicts_of(done: subprocess.CompletedProcess[str]) -> dict[str, bool]:
    """Whether each contract was kept, by its name."""
    found = re.findall(r"^(.+) (KEPT|BROKEN)(?: \(.*\))?$", done.stdout, flags=re.MULTILINE)
    return {name: verdict == "KEPT" for name, verdict in found}


def test_every_import_rule_breaks_when_it_is_broken(copied: Path) -> None:
    """Plant one forbidden import for each rule."""
    plants = {
        "app/model/planted.py": "import faiss\nimport onnxruntime\nimport redis\n"
        "import opentelemetry\nimport torch\nimport offline.fetch\nimport app.main\n",
        f"{CLIENT}/longtail_client/planted.py": "import app.main\n",
        f"{EXAMPLES}/planted.py": "import model_store.keys\n",
        "loadtest/planted.py": "import model_store.keys\n",
        "model_store/planted.py": "import fastapi\n",
        "offline/data/planted.py": "import app.main\nimport offline.recommender.recommender\n",
        "offline/export/planted.py": "import offline.recommender.sequential\n",
    }
    for path, content in plants.items():
        (copied / path).write_text(content)
    done = lint_imports(copied)
    assert done.returncode == 1, done.stderr
    verdicts = verdicts_of(done)
    assert len(verdicts) == (ROOT / ".importlinter").read_text().count("[importlinter:contract:")
    assert [name for name, kept in verdicts.items() if kept] == []


def test_no_package_knows_the_one_above_it(copied: Path) -> None:
    """Plant an import of the next higher package in each."""
    expected = []
    for root, layers in LAYERS.items():
        for lower, upper in pairwise(layers):
            folder = copied / root / lower
            path = folder / "planted.py" if folder.is_dir() else folder.with_suffix(".py")
            with path.open("a") as file:
                file.write(f"\nimport {root}.{upper}\n")
            expected.append(f"{root}.{lower} is not allowed to import {root}.{upper}")
    done = lint_imports(copied)
    assert done.returncode == 1, done.stderr
    assert [line for line in expected if line not in done.stdout] == []


@pytest.mark.parametrize("root", LAYERS)
def test_a_new_package_must_be_given_its_layer(copied: Path, root: str) -> None:
    (copied / root / "planted.py").touch()
    done = lint_imports(copied)
    assert done.returncode == 1, done.stderr
    assert "planted" in done.stdout


def test_starting_the_service_loads_no_torch() -> None:
    """In a fresh process: what is imported lazily or by libraries counts too."""
    script = (
        "import sys, app.main, app.serve, app.cli, app.models_command\n"
        "heavy = {'torch', 'transformers', 'onnx', 'polars', 'locust', 'scipy'}\n"
        "heavy |= {'offline', 'loadtest', 'fsspec', 's3fs', 'botocore'}\n"
        "heavy |= {'app.telemetry.traces', 'opentelemetry.sdk.trace', 'opentelemetry.exporter'}\n"
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


def test_only_the_store_uses_redis() -> None:
    found = importers_of("redis", "hiredis")
    assert found
    assert {str(Path(path).parent) for path in found} == {"app/store"}


def test_only_the_store_opens_connections() -> None:
    openers = {
        str(path.relative_to(ROOT))
        for path in python_files("app")
        for module, name in imports_of(path)
        if module == "app.store.connection" and name != "Command"
    }
    assert {str(Path(path).parent) for path in openers} == {"app/store"}


OUR_OWN = {"app", "loadtest", "longtail", "longtail_client", "model_store", "offline"}


@pytest.mark.parametrize(
    "command",
    [["--help"], ["build", "--help"], ["serve", "--help"], ["models", "list", "--help"], ["biuld"]],
)
def test_reading_the_command_line_loads_one_library(command: list[str]) -> None:
    """Every command pays for it, `make demo` three times: what runs one is imported by that one."""
    script = (
        "import sys\n"
        "before = set(sys.modules)\n"
        "import longtail\n"
        "try: longtail.main(sys.argv[1:])\n"
        "except SystemExit: pass\n"
        "tops = {name.partition('.')[0] for name in set(sys.modules) - before}\n"
        "print(*sorted(tops - sys.stdlib_module_names), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *command],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    *_, loaded = done.stderr.splitlines()
    libraries = {name for name in loaded.split() if not name.startswith("_")}
    assert libraries - OUR_OWN == {"shtab"}
    assert "usage:" in done.stdout + done.stderr


def test_a_data_set_in_the_cache_is_found_without_a_library(tmp_path: Path) -> None:
    """As on a second `make demo`."""
    folder = tmp_path / "ml-100k"
    folder.mkdir(parents=True)
    for name in ("u.item", "u.genre", "u.user", "u.data"):
        (folder / name).touch()
    script = (
        "import sys\n"
        "from offline.inputs import find_source\n"
        "print(find_source('movielens-100k', None, None).interactions)\n"
        "print(sorted({'polars', 'httpx', 'redis', 'torch', 'pydantic'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env={**os.environ, "LONGTAIL_CACHE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == [str(folder), "[]"]
