"""Stages of the offline path: one a module, and nothing they run escapes their fingerprint."""

from __future__ import annotations

import importlib
import inspect
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from offline.fingerprint import PASSIVE, sources_of
from offline.stages.stage import Stage
from tests.contracts.tree import ROOT, imports_of, python_files

STAGES = ROOT / "offline" / "stages"
WITHOUT_STAGE = {"stage", "encoder_choice", "added_data", "attributes", "start"}
"""Modules of what several stages share."""
MODULES = sorted(f"offline.stages.{path.stem}" for path in STAGES.glob("[a-z]*.py"))


def stages_in(module: str) -> list[type[Stage[Any]]]:
    found = inspect.getmembers(importlib.import_module(module), inspect.isclass)
    return [
        stage
        for _, stage in found
        if issubclass(stage, Stage) and not inspect.isabstract(stage) and stage.__module__ == module
    ]


def test_a_stage_is_a_module_with_one_class() -> None:
    stages = [stage for module in MODULES for stage in stages_in(module)]
    assert len({stage.__module__ for stage in stages}) == len(stages)
    assert len({stage.name for stage in stages}) == len(stages)
    holding = {stage.__module__.rpartition(".")[2] for stage in stages}
    assert {module.rpartition(".")[2] for module in MODULES} - holding == WITHOUT_STAGE


def test_no_module_is_imported_by_a_name_that_is_computed() -> None:
    """Such an import can't be followed."""
    computed = [
        str(path.relative_to(ROOT))
        for path in python_files("offline", "model_store")
        if any(
            module.partition(".")[0] == "importlib" and name != "metadata"
            for module, name in imports_of(path)
        )
        or "__import__" in path.read_text()
    ]
    assert computed == []


RUN = """
import json, sys
from pathlib import Path
from offline.inputs import Source
from offline.knowledge.config import KnowledgeConfig
from offline.stages.data import DataStage
from offline.stages.knowledge import KnowledgeStage
from offline.stages.stage import run_stage
root = Path(sys.argv[1])
source = Source(root / "interactions.csv", None, "item")
data = run_stage(DataStage(source, "leave_one_out", print), root / "out")
run_stage(KnowledgeStage(data, KnowledgeConfig(model="none")), root / "out")
loaded = {name: module for name, module in sys.modules.items()
          if name.startswith(("offline", "model_store"))}
print(json.dumps([module.__file__ for module in loaded.values()]))
"""


def test_modules_that_stages_load_when_they_run_are_in_their_fingerprints(tmp_path: Path) -> None:
    rows = [f"u{user},i{item},{item}" for user in range(5) for item in range(user, user + 6)]
    (tmp_path / "interactions.csv").write_text("\n".join(["user_id,item_id,timestamp", *rows]))
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = {Path(file) for file in json.loads(done.stdout.splitlines()[-1])}
    covered = {*sources_of("offline.stages.data"), *sources_of("offline.stages.knowledge")}
    escaped = {
        path.relative_to(ROOT).as_posix()
        for path in loaded - covered
        if path.name != "__init__.py" and path.parent != STAGES
    }
    assert escaped <= set(PASSIVE)
    assert {"offline/data/dataset.py", "offline/knowledge/generation.py"} <= {
        path.relative_to(ROOT).as_posix() for path in loaded
    }
