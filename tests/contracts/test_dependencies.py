"""A package imports only what its extra declares, as an image installs nothing else."""

from __future__ import annotations

import sys
import tomllib
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from tests.contracts.tree import CLIENT, EXAMPLES, PACKAGES, ROOT, imports_of, python_files


def project_of(folder: Path) -> dict[str, Any]:
    """The declaration of a project."""
    found: dict[str, Any] = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    return found


PROJECT, CLIENT_PROJECT = project_of(ROOT), project_of(ROOT / "clients" / "python")
EXTRA_OF = {
    "model_store": None,
    "app": "serve",
    "offline": "offline",
    "loadtest": "loadtest",
    CLIENT: None,
    EXAMPLES: "offline",
}
# Files that are imported only where an extra of their own is installed.
OPTIONAL = {
    "app/telemetry/traces.py": "traces",
    "offline/engine/on_ray.py": "ray",
    "offline/engine/choice.py": "ray",  # looks whether it is there
    f"{CLIENT}/longtail_client/mcp_server.py": "mcp",
    **dict.fromkeys(("model_store/signatures.py", "model_store/private_key.py"), "signatures"),
    "model_store/object_store.py": "s3",
    "model_store/exchange/hub.py": "hub",
    **{f"offline/kafka/{name}.py": "kafka" for name in ("access", "from_kafka", "writer")},
    "model_store/exchange/mlflow_registry.py": "mlflow",
}
# Of modules whose distribution has another name and need not be installed.
DISTRIBUTIONS = {"mlflow": ["mlflow-skinny"]}


def names_of(requirements: list[str]) -> set[str]:
    """Distributions by their normalised names, without extras, bounds and markers."""
    names = set()
    for requirement in requirements:
        end = next((i for i, c in enumerate(requirement) if c in "[<>=!~; "), len(requirement))
        names.add(requirement[:end].lower().replace("_", "-"))
    return names


def declared_for(package: str, path: str = "") -> set[str]:
    project = CLIENT_PROJECT if package == CLIENT else PROJECT
    extras = [extra for extra in (EXTRA_OF[package], OPTIONAL.get(path)) if extra]
    more = [one for extra in extras for one in project["optional-dependencies"][extra]]
    names = names_of(project["dependencies"] + more)
    # `redis[hiredis]` and FastAPI bring along, by their own declaration, what is used with them.
    return names | {"hiredis"} | ({"starlette"} if "fastapi" in names else set())


@cache
def distributions() -> dict[str, list[str]]:
    """The distributions that bring each importable module."""
    return {**DISTRIBUTIONS, **metadata.packages_distributions()}


@pytest.mark.parametrize("package", [*PACKAGES, CLIENT, EXAMPLES])
def test_what_a_package_imports_is_declared_for_it(package: str) -> None:
    ours = {*PACKAGES, EXAMPLES, "longtail", "longtail_client"}
    missing = {
        f"{path.relative_to(ROOT)}: {top}"
        for path in python_files(package)
        for declared in [declared_for(package, str(path.relative_to(ROOT)))]
        for top in {module.partition(".")[0] for module, _ in imports_of(path)}
        if top not in sys.stdlib_module_names
        and top not in ours
        and not names_of(distributions().get(top, [top])) & declared
    }
    assert not missing
