"""Fingerprints of code, of input files and of values: equal ones give equal results."""

from __future__ import annotations

import ast
import hashlib
import sys
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path

import numpy as np

from model_store.errors import InputError
from model_store.files import hash_file

ROOT = Path(__file__).parent.parent
PACKAGES = ("offline", "model_store")
STAGES = Path("offline", "stages")
PASSIVE = {
    "model_store/errors.py": "kinds of errors: a stage that raises one has no result",
    "model_store/parent_death.py": "ends processes with the one that started them",
    "offline/artifact.py": "keeps results and decides none",
    "offline/cache.py": "names the folder of downloads",
    **dict.fromkeys(
        [f"offline/engine/{name}.py" for name in ("local", "parts", "rows", "work")],
        "runs work somewhere and decides none of its results",
    ),
    "offline/fetch.py": "fetches files whose checksums the callers give",
    "offline/fingerprint.py": "distinguishes results and decides none",
    **dict.fromkeys(
        [
            f"offline/inspect/{name}.py"
            for name in (
                *("histories", "inspection", "near_misses", "overlap", "ratings", "text", "times"),
                "warnings",
            )
        ],
        "tells people about the data",
    ),
    "offline/progress.py": "shows progress",
    "offline/training/gathering.py": "exchanges what processes computed",
    "offline/training/group.py": "divides a training among processes and decides none of its steps",
    "offline/training/sharded.py": "shards a table among processes",
    "offline/training/pace.py": "measures how long a training will take",
}
"""Modules whose code no stage's result depends on, and why."""

# Recipes and grids (.toml) are configuration, which counts by its values.
_WITHOUT_INFLUENCE = {".py", ".pyc", ".pyi", ".toml", ".md"}


def hash_code(module: str, root: Path = ROOT) -> str:
    """sha256 over the files that decide a module's results; see `sources_of`."""
    digest = hashlib.sha256()
    for path in sources_of(module, root):
        content = path.read_bytes()
        digest.update(f"{_name(path, root)} {len(content)} ".encode())
        digest.update(content)
    return digest.hexdigest()


def sources_of(module: str, root: Path = ROOT) -> tuple[Path, ...]:
    """The module's file, those of all modules it imports, and the data files of their packages.

    Imports are read from the source, wherever in a file they stand, and followed below `offline/`
    and `model_store/`; other libraries don't count, nor do `PASSIVE` modules. Other modules of
    `offline/stages/` don't either: a stage reads the artifacts of other stages, whose fingerprints
    are among its inputs and cover that code. Data files are those of the modules' folders below
    `offline/`, such as prompts; a folder within one that is no package belongs to it.

    Args:
        module: full name, `offline.stages.data`.
        root: the folder that holds the packages.

    Raises:
        ValueError: an import in one of them is relative, or there is no such module.
    """
    start = _file_of(module, root) or _file_of_imported(module)
    found: dict[str, Path] = {}
    waiting = [start]
    while waiting:
        path = waiting.pop()
        if (name := _name(path, root)) in found:
            continue
        found[name] = path
        waiting += (
            imported
            for imported in _imported_by(path.read_bytes(), path, root)
            if _name(imported, root) not in PASSIVE and imported.parent != root / STAGES
        )
    for folder in {path.parent for path in found.values()}:
        if root / "offline" in folder.parents:
            found |= {_name(path, root): path for path in _data_files(folder)}
    return tuple(found[name] for name in sorted(found))


@cache  # a build asks a dozen times for the same modules
def _imported_by(content: bytes, path: Path, root: Path) -> tuple[Path, ...]:
    """The project's files that a module imports, each once."""
    found = set()
    for module, names in _walk(ast.parse(content, path).body, str(path)):
        file = _file_of(module, root)
        if names and (file is None or file.name == "__init__.py"):
            # `from package import module` imports the module; else it is something in the package.
            found |= {_file_of(f"{module}.{name}", root) or file for name in names}
        else:
            found.add(file)
    return tuple(file for file in found if file is not None)


# Fields of statements that hold statements. An import is one: most of a file is expressions, which
# hold none.
_BLOCKS = ("body", "orelse", "finalbody", "handlers", "cases")


def _walk(nodes: Iterable[ast.AST], path: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Modules, and the names taken from them; none where the module itself is imported."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from ((alias.name, ()) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                raise ValueError(f"{path}:{node.lineno}: a relative import can't be followed")
            yield node.module or "", tuple(alias.name for alias in node.names)
        elif isinstance(node, ast.If) and _is_type_checking(node.test):
            yield from _walk(node.orelse, path)
        else:
            for block in _BLOCKS:
                if held := getattr(node, block, None):
                    yield from _walk(held, path)


def _is_type_checking(test: ast.expr) -> bool:
    return isinstance(test, ast.Name) and test.id == "TYPE_CHECKING"


def _file_of(module: str, root: Path) -> Path | None:
    """A module's file; None for a name outside the project's packages, or of no module."""
    if module.partition(".")[0] not in PACKAGES:
        return None
    place = root / Path(*module.split("."))
    candidates = (place.with_suffix(".py"), place / "__init__.py")
    return next((path for path in candidates if path.is_file()), None)


def _file_of_imported(module: str) -> Path:
    """That of a module elsewhere, which this process has imported."""
    file = getattr(sys.modules.get(module), "__file__", None)
    if file is None:
        raise ValueError(f"module {module!r}: there is no source file of it")
    return Path(file)


def _data_files(folder: Path) -> Iterator[Path]:
    """Data files of a package: neither code, configuration nor documentation."""
    for path in folder.iterdir():
        if path.name.startswith((".", "__pycache__")):
            continue
        if path.is_dir():
            if not (path / "__init__.py").is_file():
                yield from _data_files(path)
        elif path.suffix not in _WITHOUT_INFLUENCE:
            yield path


@cache
def _name(path: Path, root: Path) -> str:
    return (path.relative_to(root) if path.is_relative_to(root) else path).as_posix()


def fingerprint_of(*parts: object) -> str:
    """sha256 in hex over arrays and other values, these by their `repr`, in order."""
    digest = hashlib.sha256()
    for part in parts:
        content = part.tobytes() if isinstance(part, np.ndarray) else repr(part).encode()
        digest.update(len(content).to_bytes(8, "little") + content)
    return digest.hexdigest()


def hash_inputs(paths: Sequence[Path]) -> str:
    """sha256 over the bytes of input files, or of all files in an input folder.

    Hidden files and folders in it don't count, such as the unfinished files of an archiver that
    writes into it meanwhile; folders of partitions, such as `day=1`, do.

    Raises:
        InputError: a path isn't there, or a file is removed while it is read.
    """
    digest = hashlib.sha256()
    for path in paths:
        if not path.exists():
            raise InputError(f"{path}: there is no such file or folder")
        try:
            names = sorted(_names_in(path)) if path.is_dir() else [path.name]
            for name in names:
                file = path / name if path.is_dir() else path
                digest.update(name.encode())
                digest.update(hash_file(file).encode())
        except FileNotFoundError as error:
            raise InputError(
                f"{error.filename}: it was removed while it was read; run this again"
            ) from error
    return digest.hexdigest()


def _names_in(folder: Path) -> Iterator[str]:
    """Names of the files in a folder that aren't hidden, with those of the folders between."""
    for path in folder.rglob("*"):
        name = path.relative_to(folder)
        if path.is_file() and not any(part.startswith(".") for part in name.parts):
            yield name.as_posix()
