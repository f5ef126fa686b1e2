"""Files that are missing, cut or something else; JSON with impossible values."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from tests.damage.arrays import ARRAYS
from tests.damage.kinds import Change, Damage, content_is

DEEP = b"[" * 100_000 + b"]" * 100_000
DIGITS = b"9" * 400
SURROGATE = "half \ud83c of a pair"

FILES = (
    *("model.onnx", "text_encoder.onnx", "tokenizer.json", "golden.json", "item_ids.json"),
    *("attributes.json", "manifest.json", *ARRAYS, "reranker.onnx", "reranker_tokenizer.json"),
)
JSON_FILES = (
    *("golden.json", "item_ids.json", "attributes.json", "tokenizer.json", "manifest.json"),
    "reranker_tokenizer.json",
)
GRAPHS = ("model.onnx", "text_encoder.onnx", "reranker.onnx")
CONTENTS = {
    "empty": b"",
    "nonsense": b"nonsense",
    "null": b"null",
    "a number": DIGITS,
    "a list": b"[]",
    "a mapping": b"{}",
    "deep": DEEP,
    "no UTF-8": b'["\xff\xfe"]',
}


def damaged_files() -> Iterator[Damage]:
    for name in FILES:
        yield Damage(f"{name} missing", lambda folder, name=name: (folder / name).unlink())  # type: ignore[misc]
        for what, change in (("cut short", _cut), ("longer", _lengthen), ("changed", _flip)):
            if name == "manifest.json" and what != "cut short":
                continue  # nothing states the sum of the manifest itself
            yield Damage(f"{name} {what} later", partial(_rewrite, name, change), is_built_so=False)
    for name in (*GRAPHS, "tokenizer.json", "reranker_tokenizer.json"):
        yield Damage(f"{name} built cut short", partial(_rewrite, name, _cut))
    for name in JSON_FILES:
        for what, content in CONTENTS.items():
            yield Damage(f"{name} is {what}", content_is(name, content))
    for name in GRAPHS:
        yield Damage(f"{name} is empty", content_is(name, b""))
        yield Damage(f"{name} is another format", content_is(name, b"\x00\x00\x00\x00ORTM" * 9))


def _rewrite(name: str, change: Callable[[bytes], bytes], folder: Path) -> None:
    path = folder / name
    path.write_bytes(change(path.read_bytes()))


def _cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def _lengthen(content: bytes) -> bytes:
    return content + b"\0"


def _flip(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def change_document(name: str, change: Callable[[Any], object]) -> Change:
    """Change a JSON document in place, or put what the function returns in its place."""

    def apply(folder: Path) -> None:
        path = folder / name
        document = json.loads(path.read_bytes())
        changed = change(document)
        path.write_text(json.dumps(document if changed is None else changed))

    return apply


def damaged_ids() -> Iterator[Damage]:
    for what, value in {
        "a number": 7,
        "null": None,
        "a list": ["i1"],
        "an empty one": "",
        "a lone surrogate": SURROGATE,
        "one twice": "i1",
    }.items():
        yield Damage(
            f"ids with {what}",
            change_document("item_ids.json", lambda ids, value=value: ids.__setitem__(4, value)),
        )
    yield Damage("one id less", change_document("item_ids.json", lambda ids: ids[:-1]))
    yield Damage("one id more", change_document("item_ids.json", lambda ids: [*ids, "new"]))


VALUES = {
    "title": (SURROGATE, 7, ["a"], True, {"a": 1}),
    "year": (2**70, int(DIGITS), float("nan"), float("inf"), True, "1999", [1999]),
    "genres": (SURROGATE, [SURROGATE], [7], [None], [["a"]], {"a": "b"}, 7),
}


def damaged_attributes() -> Iterator[Damage]:
    for name, values in VALUES.items():
        for value in values:
            yield Damage(
                f"{name} {str(value)[:20]!r} {type(value).__name__}",
                _attribute(
                    name, lambda column, value=value: column["values"].__setitem__(4, value)
                ),
            )
    for what, changes in {
        "name as a number": {"name": 7},
        "name as a lone surrogate": {"name": SURROGATE},
        "name twice": {"name": "title"},
        "kind unknown": {"kind": "date"},
        "kind as a list": {"kind": ["text"]},
        "values as a number": {"values": 7},
        "values as a mapping": {"values": {"a": 1}},
        "values empty": {"values": []},
    }.items():
        yield Damage(f"attribute's {what}", _attribute("year", lambda c, m=changes: c.update(m)))
    yield Damage("a value less", _attribute("year", lambda column: column["values"].pop()))
    yield Damage("no kind", _attribute("year", lambda column: column.pop("kind")))
    for n_items in (59, 61, -1, None, "60 or so", float("inf"), 10**400):
        yield Damage(
            f"attributes of {str(n_items)[:8]} items",
            change_document("attributes.json", lambda d, n=n_items: d.update(n_items=n)),
        )
    yield Damage("attributes of an item less", change_document("attributes.json", _without_last))


def _attribute(name: str, change: Callable[[dict[str, Any]], object]) -> Change:
    def apply(document: dict[str, Any]) -> None:
        [column] = [one for one in document["attributes"] if one["name"] == name]
        change(column)

    return change_document("attributes.json", apply)


def _without_last(document: dict[str, Any]) -> None:
    document["n_items"] -= 1
    for column in document["attributes"]:
        column["values"].pop()


def damaged_golden() -> Iterator[Damage]:
    for what, changes in {
        "k 0": {"k": 0},
        "k -1": {"k": -1},
        "k infinite": {"k": float("inf")},
        "k huge": {"k": 10**400},
        "k true": {"k": True},
        "k null": {"k": None},
        "an unknown history": {"history": ["nobody"]},
        "a history of lists": {"history": [["i1"]]},
        "a history of numbers": {"history": [1, 2]},
        "a history of null": {"history": None},
        "no items": {"item_ids": [], "scores": [], "k": 0},
        "scores of texts": {"scores": ["high"] * 10},
        "scores of null": {"scores": [None] * 10},
        "huge scores": {"scores": [10**400] * 10},
        "NaN scores": {"scores": [float("nan")] * 10},
        "infinite scores": {"scores": [float("inf")] * 10},
    }.items():
        yield Damage(f"golden: {what}", _golden_entry(lambda e, m=changes: e.update(m)))
    for what, change in {
        "fewer scores": lambda e: e["scores"].pop(),
        "more scores": lambda e: e["scores"].append(-9.0),
        "fewer items": lambda e: e["item_ids"].pop(),
        "an item twice": lambda e: e["item_ids"].__setitem__(1, e["item_ids"][0]),
        "a seen item": lambda e: e["item_ids"].__setitem__(1, e["history"][0]),
        "an unknown item": lambda e: e["item_ids"].__setitem__(1, "nobody"),
        "other items": lambda e: e["item_ids"].reverse(),
        "other scores": lambda e: e["scores"].__setitem__(0, e["scores"][0] + 0.5),
        "rising scores": lambda e: (e["scores"].reverse(), e["item_ids"].reverse()),
        "no k": lambda e: e.pop("k"),
    }.items():
        yield Damage(f"golden: {what}", _golden_entry(change))


def _golden_entry(change: Callable[[dict[str, Any]], object]) -> Change:
    def apply(entries: list[dict[str, Any]]) -> None:
        change(entries[1])

    return change_document("golden.json", apply)


def damaged_manifests() -> Iterator[Damage]:
    for where, values in {
        "schema_version": (0, 99, None, "2"),
        "kind": ("random", None),
        "version": ("another", "../evil", "v" * 300, SURROGATE, 7, ""),
        "created_at": (None, 7),
        "model": (None, {}),
        "model.name": ("", None, "n" * 10_000),
        "model.max_length": (0, -1, 10**15, 10**400, None, float("inf")),
        "model.embedding_size": (0, -8, 7, 9, 10**15),
        "model.inputs": ([], None),
        "model.outputs": ([], [{"name": "scores", "dtype": "float32", "shape": []}]),
        "encoder": (None,),
        "encoder.vector_size": (0, 5, 7, 10**15),
        "encoder.has_graph": (False, None, "perhaps"),
        "n_items": (0, 59, 61, -60, 10**400, None, float("nan")),
        "n_users": (-1, None),
        "files": ({}, None, []),
        "metrics": (None, {"ndcg_at_10": float("nan")}, {"ndcg_at_10": float("inf")}, {"a": "b"}),
        "inputs": (None, {"a": 7}),
        "configuration": (None, []),
        "code_revision": (None,),
        "surprise": (1,),
        "retriever": ({}, {"n_lists": 4}),
        "reranker": (None, {}),
        "reranker.mode": ("bytes", None),
        "reranker.graph": (None, {}),
        "reranker.graph.label_tokens": ([], list(range(19)), [0.5] * 20),
        "reranker.graph.max_tokens": (0, 10**9),
        "reranker.layout": (None,),
        "reranker.layout.n_candidates": (0, 1, 21, 10**400),
        "reranker.layout.surprise": (1,),
        "reranker.label_bias": ([0.0], [float("nan")] * 6, None),
        "reranker.weighting.alpha_1": (-0.1, 1.1, float("nan"), None),
        "reranker.weighting.l_min": (99.0, float("inf")),
        "reranker.weighting.tail_interactions": (-1, None),
    }.items():
        for value in values:
            shown = f"{str(value)[:20]!r}"
            yield Damage(f"manifest: {where} {shown}", _field(where, value))
    for name in ("model.onnx", "item_ids.json", "tokenizer.json", "user_vectors.npy"):
        yield Damage(
            f"manifest: without {name}",
            change_document("manifest.json", lambda d, name=name: d["files"].pop(name)),  # type: ignore[misc]
        )
    for name in ("../outside", "sub/file", "", ".", "manifest.json"):
        entry = {"sha256": "0" * 64, "size_bytes": 1}
        yield Damage(f"manifest: a file {name!r}", _field(f"files.{name}", entry, separator=""))
    yield Damage("manifest: no sum", _field("files.x", {"sha256": "", "size_bytes": 1}))


def _field(where: str, value: object, separator: str = ".") -> Change:
    def apply(document: dict[str, Any]) -> None:
        *parents, last = where.split(".", 1) if not separator else where.split(separator)
        for parent in parents:
            document = document[parent]
        document[last] = value

    return change_document("manifest.json", apply)
