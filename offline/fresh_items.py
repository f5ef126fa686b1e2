"""New items for services that already run: text → knowledge → vector → store."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import redis

from model_store.attributes import Attribute, AttributeValue, ItemAttributes
from model_store.bundle import Bundle
from model_store.errors import ConfigError, InputError
from model_store.fresh_items import FreshItem, publish_fresh
from model_store.id_map import IdMap
from model_store.publication import bundles_folder
from model_store.registry import Registry
from offline.cache import cache_folder
from offline.data.catalogue import read_catalogue
from offline.data.issues import Issues
from offline.data.sources import open_items
from offline.encoding.item_vectors import encode_items
from offline.encoding.onnx_export import OnnxTextEncoder
from offline.item_text import item_texts
from offline.knowledge.config import NO_MODEL
from offline.knowledge.generation import generate_knowledge
from offline.recipe import Recipe

LIST_MARK = "|"


def add_fresh_items(
    items: Path,
    client: redis.Redis,
    *,
    generate: bool = False,
    log: Callable[[str], None] = print,
) -> dict[str, int]:
    """Read a catalogue file and publish its items to the active version and similar ones.

    The encoder in the active version's bundle encodes the texts, so that a tuned one is needed
    nowhere else; every published version with the same text encoder gets its unknown items.

    Args:
        items: the catalogue file.
        client: of the store.
        generate: have the language model of the active version's recipe describe each item; else
            only where the recipe has `generate`.
        log: called with lines of progress.

    Returns:
        For each such version, the number of items that were new to it.

    Raises:
        InputError: the file can't be used, an attribute doesn't fit the catalogue's, no version
            is active, or the active one has no text encoder.
        ConfigError: `generate` with a recipe that has no language model.
    """
    version = Registry(client).active()
    if version is None:
        raise InputError("no version is active, so there is none to give fresh items to")
    bundle = Bundle.open(bundles_folder() / version, verify=False)
    described = bundle.manifest.encoder
    if described is None or not described.has_graph:
        raise InputError(f"version {version!r} has no text encoder, so it can't take fresh items")
    recipe = Recipe.model_validate(bundle.manifest.configuration["recipe"])
    ids, attributes = _read_items(items, bundle.attributes, log)
    texts = item_texts(attributes, ids)
    kind = bundle.manifest.configuration["item_kind"]
    config = recipe.knowledge.model_copy(update={"item_kind": kind})
    if generate and config.model == NO_MODEL:
        raise ConfigError(f"--generate: the recipe of version {version!r} has no language model")
    if generate:
        config = config.model_copy(update={"generate": True})
    knowledge, _ = generate_knowledge(texts, config, cache_folder())
    encoder = OnnxTextEncoder.open(bundle.folder)
    vectors = encode_items(texts, knowledge, recipe.encoding, encoder)
    fresh = [
        FreshItem(item_id, vector, attributes.row(index))
        for index, (item_id, vector) in enumerate(zip(ids.ids, vectors, strict=True), start=1)
    ]
    return publish_fresh(fresh, client, encoder=described.name)


def _read_items(
    path: Path, known: ItemAttributes, log: Callable[[str], None]
) -> tuple[IdMap, ItemAttributes]:
    source, issues = open_items(path), Issues()
    catalogue = read_catalogue(source.table, source.columns, issues)
    for line in issues.lines():
        log(f"  {line}")
    fitted: list[Attribute] = []
    for name in catalogue.attributes.names:
        attribute, target = catalogue.attributes.get(name), known.get(name)
        if attribute is None or target is None:
            log(f"  {path}: column {name!r} is no attribute of the active version and is left out")
            continue
        fitted.append(_fitted(attribute, target, path))
    return IdMap(catalogue.item_ids), ItemAttributes(fitted, len(catalogue.item_ids))


def _fitted(attribute: Attribute, target: Attribute, path: Path) -> Attribute:
    """The attribute with the catalogue's kind: a few rows may look like another kind."""
    values = [_as_kind(value, target.kind) for value in attribute.values]
    try:
        return Attribute(attribute.name, target.kind, values)
    except ValueError as error:
        raise InputError(f"{path}: {error}") from error


def _as_kind(value: AttributeValue, kind: str) -> AttributeValue:
    if value is None:
        return None
    if kind == "list":
        return value if isinstance(value, list) else str(value).split(LIST_MARK)
    if kind == "text":
        return LIST_MARK.join(value) if isinstance(value, list) else str(value)
    return value
