"""A fingerprint covers what decides a result, and nothing else."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from model_store.errors import InputError
from model_store.files import hash_file
from offline.fingerprint import PASSIVE, ROOT, hash_code, hash_inputs, sources_of

START = "offline.stages.start"
TREE = {
    "model_store/__init__.py": "",
    "model_store/files.py": "",
    "model_store/unused.py": "",
    "model_store/bundles/v1/weights.npy": "",
    "offline/__init__.py": "",
    "offline/progress.py": "import offline.lonely\n",
    "offline/lonely.py": "",
    "offline/types.py": "",
    "offline/recipes/default.toml": "",
    "offline/model/__init__.py": "from offline.model.other import x\n",
    "offline/model/other.py": "",
    "offline/model/network.py": "from offline.model import layers\nfrom offline import progress\n",
    "offline/model/layers.py": "import model_store.files, numpy\n",
    "offline/model/prompts/v1.txt": "",
    "offline/model/README.md": "",
    "offline/model/.hidden": "",
    "offline/model/__pycache__/layers.txt": "",
    "offline/model/grids.toml": "",
    "offline/stages/__init__.py": "",
    "offline/stages/stage.py": "",
    "offline/stages/earlier.py": "import offline.lonely\n",
    "offline/stages/start.py": "from typing import TYPE_CHECKING\n"
    "from offline.stages.earlier import Earlier\n"
    "from offline.stages.stage import Stage\n"
    "if TYPE_CHECKING:\n    from offline.types import Type\n"
    "class Start:\n    def run(self):\n"
    "        if True:\n            from offline.model.network import Network\n",
}
DECIDING = {
    "model_store/files.py",
    "offline/model/layers.py",
    "offline/model/network.py",
    "offline/model/prompts/v1.txt",
    "offline/stages/start.py",
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, content in TREE.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return tmp_path


@pytest.mark.parametrize("name", TREE)
def test_the_fingerprint_changes_with_what_is_imported_and_only_then(root: Path, name: str) -> None:
    before = hash_code(START, root)
    with (root / name).open("a") as file:
        file.write("# changed\n")
    assert (hash_code(START, root) != before) == (name in DECIDING)


def test_the_modules_that_a_package_reexports_count(root: Path) -> None:
    (root / "offline/stages/start.py").write_text("from offline.model import x\n")
    names = {path.relative_to(root).as_posix() for path in sources_of(START, root)}
    assert {"offline/model/__init__.py", "offline/model/other.py"} <= names


def test_a_new_data_file_and_a_new_import_count(root: Path) -> None:
    seen = {hash_code(START, root)}
    (root / "offline/model/prompts/v2.txt").write_text("")
    seen.add(hash_code(START, root))
    (root / "offline/model/layers.py").write_text("import offline.lonely\n")
    seen.add(hash_code(START, root))
    (root / "offline/lonely.py").write_text("x = 1\n")
    seen.add(hash_code(START, root))
    assert len(seen) == 4


@pytest.mark.parametrize(
    "place",
    [
        "{}",
        "def f():\n  async def g():\n    {}",
        "class A:\n  {}",
        "if x:\n  pass\nelif y:\n  {}",
        "try:\n  pass\nexcept* E:\n  {}",
        "try:\n  pass\nfinally:\n  {}",
        "try:\n  pass\nexcept E:\n  pass\nelse:\n  {}",
        "for x in y:\n  pass\nelse:\n  {}",
        "while x:\n  with y:\n    {}",
        "match x:\n  case 1:\n    {}",
    ],
)
def test_an_import_counts_in_whatever_statement_it_stands(root: Path, place: str) -> None:
    (root / "offline/lonely.py").write_text("")
    (root / "offline/model/layers.py").write_text(place.format("import offline.lonely") + "\n")
    assert root / "offline/lonely.py" in sources_of(START, root)


def test_an_import_that_cannot_be_followed_is_an_error(root: Path) -> None:
    (root / "offline/model/layers.py").write_text("from . import other\n")
    with pytest.raises(ValueError, match=r"layers\.py:1: a relative import"):
        hash_code(START, root)


def test_a_module_that_is_not_there_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"offline\.stages\.no_such"):
        hash_code("offline.stages.no_such")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project, to be changed."""
    root = tmp_path_factory.mktemp("project")
    ignored = shutil.ignore_patterns("__pycache__", "bundles", "store")
    for package in ("offline", "model_store"):
        shutil.copytree(ROOT / package, root / package, ignore=ignored)
    return root


@pytest.mark.parametrize(
    ("stage", "name", "counts"),
    [
        ("recommender", "offline/recommender/losses.py", True),
        ("recommender", "offline/training/trainer.py", True),
        ("recommender", "offline/metrics.py", True),
        ("recommender", "model_store/files.py", True),
        ("recommender", "offline/data/movielens.py", False),
        ("recommender", "offline/knowledge/prompt.py", False),
        ("recommender", "offline/export/retriever.py", False),
        ("recommender", "model_store/bundle.py", False),
        ("data", "offline/data/movielens.py", True),
        ("data", "offline/recommender/losses.py", False),
        ("knowledge", "offline/knowledge/prompts/v1.txt", True),
        ("knowledge", "offline/knowledge/bundled/ml-100k.jsonl.gz", True),
        ("knowledge", "offline/recipes/default.toml", False),
        ("encoding", "offline/encoding/sentence_encoder.py", True),
        ("encoding", "offline/encoding/onnx_export.py", False),
        ("text_encoder", "offline/encoding/onnx_export.py", True),
        ("text_encoder", "offline/knowledge/generation.py", False),
        ("evaluation", "offline/recommender/baselines.py", True),
        ("behaviour", "offline/training/trainer.py", True),
        ("pretraining", "offline/behaviour/masking.py", True),
        ("export", "offline/export/retriever.py", True),
        ("ranks", "offline/evaluate/report.py", False),
        *[("recommender", name, False) for name in sorted(PASSIVE)],
    ],
)
def test_the_stages_sources(project: Path, stage: str, name: str, counts: bool) -> None:
    before = hash_code(f"offline.stages.{stage}", project)
    content = (project / name).read_bytes()
    (project / name).write_bytes(content + b"\n# changed\n")
    assert (hash_code(f"offline.stages.{stage}", project) != before) == counts
    (project / name).write_bytes(content)
    assert hash_code(f"offline.stages.{stage}", project) == before


def test_passive_modules_are_there() -> None:
    assert [name for name in PASSIVE if not (ROOT / name).is_file()] == []


def test_inputs_are_hashed_by_content(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("1")
    before = hash_inputs([tmp_path / "a.csv"])
    assert hash_inputs([tmp_path]) == before
    (tmp_path / "a.csv").write_text("2")
    assert hash_inputs([tmp_path / "a.csv"]) != before
    with pytest.raises(InputError, match=r"b\.csv"):
        hash_inputs([tmp_path / "b.csv"])


@pytest.mark.parametrize("name", ["day=1/.a.parquet.7-1f.partial", ".lock", ".cache/a.parquet"])
def test_hidden_files_of_an_input_do_not_count(name: str, tmp_path: Path) -> None:
    (tmp_path / "day=1").mkdir()
    (tmp_path / "day=1" / "a.parquet").write_text("1")
    before = hash_inputs([tmp_path])
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("unfinished")
    assert hash_inputs([tmp_path]) == before
    (tmp_path / "day=1" / "b.parquet").write_text("1")
    assert hash_inputs([tmp_path]) != before


def test_an_input_that_vanishes_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text("1")

    def hash_and_remove(path: Path) -> str:
        digest = hash_file(path)
        (tmp_path / "b.csv").unlink()
        return digest

    monkeypatch.setattr("offline.fingerprint.hash_file", hash_and_remove)
    with pytest.raises(InputError, match=r"/b\.csv: it was removed while it was read"):
        hash_inputs([tmp_path])
