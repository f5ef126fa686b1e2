"""The part of the OpenAPI document that is about callers; clients of other languages come from it.

`python -m tests.clients.public_api` writes it to clients/openapi.json.
"""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path
from typing import Any

from app.main import create_app
from app.settings import Settings
from model_store.store_url import StoreUrl
from tests.contracts.tree import ROOT

FILE = ROOT / "clients" / "openapi.json"
# Operators' calls that a shop's back end makes; the others are those of `longtail` commands.
OF_OPERATORS = {("put", "/admin/items"), ("delete", "/users/{user_id}")}
REFERENCE = re.compile(r'"#/components/schemas/([^"]+)"')


def public_part(document: dict[str, Any]) -> dict[str, Any]:
    """The calls of callers, and the schemas that these need."""
    paths: dict[str, Any] = {}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if operation["tags"] != ["admin"] or (method, path) in OF_OPERATORS:
                paths.setdefault(path, {})[method] = operation
    del paths["/metrics"]
    all_schemas = document["components"]["schemas"]
    needed, found = set(REFERENCE.findall(json.dumps(paths))), set[str]()
    while new := needed - found:
        found |= new
        needed |= {name for one in new for name in REFERENCE.findall(json.dumps(all_schemas[one]))}
    return {
        "openapi": document["openapi"],
        "info": document["info"],
        "paths": paths,
        "components": {
            "schemas": {name: all_schemas[name] for name in sorted(found)},
            "securitySchemes": document["components"]["securitySchemes"],
        },
    }


def as_text(document: dict[str, Any]) -> str:
    """As it stands in the file."""
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def main() -> None:
    """Write the file."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(
            redis_url=StoreUrl.parse("redis://127.0.0.1:1/0"),
            store_dir=Path(folder),
        )
        FILE.write_text(as_text(public_part(create_app(settings).openapi())))


if __name__ == "__main__":
    main()
