"""A model card: README.md with metadata, made from a bundle's manifest."""

from __future__ import annotations

import json
from collections.abc import Iterable

from model_store.manifest import Manifest
from model_store.signatures import SIGNATURE

_KINDS = {
    "sequential": "a network over the order of a user's history",
    "direct": "user and item vectors of a graph of interactions",
    "rating": "predictors of ratings",
}


def model_card(manifest: Manifest, where: str, *, is_signed: bool) -> str:
    """The card of a bundle, as the Hugging Face hub shows it.

    Args:
        manifest: of the bundle.
        where: it is pulled from.
        is_signed: whether its signature is there too.
    """
    # Texts of a manifest are anybody's. JSON is YAML, and a code span is shown as it is.
    metadata = {
        "library_name": "longtail",
        "tags": ["recommender-system", manifest.kind, manifest.model.name],
        "longtail": {"version": manifest.version, "created_at": manifest.created_at},
    }
    lines = ["---", *(f"{name}: {json.dumps(value)}" for name, value in metadata.items()), "---"]
    lines += ["", f"# Recommender {_code(manifest.version)}", ""]
    lines += [
        f"A bundle of Longtail, an online recommendation service: {_KINDS[manifest.kind]}.",
        "",
        *_table(("", ""), _facts(manifest)),
        "",
        "It holds what a service needs to answer with it: the network as ONNX, the items' vectors,",
        "ids and attributes" + _with_histories(manifest),
        "Nothing in it is executable, and it is pulled with every file compared with its sha256",
        f"in `manifest.json`{f', which `{SIGNATURE}` signs' if is_signed else ''}:",
        "",
        "```",
        f"longtail bundle pull {where} --out bundles",
        f"longtail serve --bundle bundles/{manifest.version}",
        "```",
    ]
    if manifest.metrics:
        rows = ((_code(name), f"{value:.6g}") for name, value in sorted(manifest.metrics.items()))
        lines += ["", "## Metrics", "", "By full ranking, as the build measured them.", ""]
        lines += _table(("Metric", "Value"), rows)
    if manifest.inputs:
        rows = ((_code(name), _code(digest)) for name, digest in sorted(manifest.inputs.items()))
        lines += ["", "## Made from", "", *_table(("File", "sha256"), rows)]
    return "\n".join([*lines, ""])


def _facts(manifest: Manifest) -> list[tuple[str, str]]:
    facts = [
        ("Model", _code(manifest.model.name)),
        ("Items", f"{manifest.n_items:,}"),
        ("Users with a history", f"{manifest.n_users:,}"),
        ("Vector size", f"{manifest.model.embedding_size}"),
        ("Text encoder", _code(manifest.encoder.name) if manifest.encoder else "none"),
        ("Built", _code(manifest.created_at)),
        ("Code", _code(manifest.code_revision)),
        ("Size", f"{sum(one.size_bytes for one in manifest.files.values()) / 1e6:,.1f} MB"),
    ]
    return [(name, value) for name, value in facts if value]


def _with_histories(manifest: Manifest) -> str:
    if not manifest.n_users:
        return "."
    return f", and the **histories of {manifest.n_users:,} users** by their ids."


def _table(head: tuple[str, str], rows: Iterable[tuple[str, str]]) -> list[str]:
    return [f"| {' | '.join(head)} |", "| --- | --- |", *(f"| {a} | {b} |" for a, b in rows)]


def _code(text: str) -> str:
    """A text as it is, on one line of a table; empty if there is none."""
    plain = "".join(letter if letter.isprintable() else " " for letter in text)
    plain = plain.replace("`", "'").replace("|", "/").strip()
    return f"`{plain}`" if plain else ""
