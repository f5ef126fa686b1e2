"""New items for services that already run: text → knowledge → vector → store."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import polars as pl
import redis

from model_store.attributes import Attribute, AttributeKind, ItemAttributes
from model_store.bundle import Bundle
from model_store.errors import ConfigError, InputError
from model_store.fresh_items import FreshItem, find_new, publish_fresh
from model_store.id_map import IdMap
from model_store.knowledge_texts import KnowledgeText
from model_store.placing import Report
from model_store.publication import open_active
from offline.alignment.opening import is_aligned, open_writer
from offline.cache import cache_folder
from offline.data.catalogue import read_catalogue
from offline.data.issues import Issues
from offline.data.kinds.numbers import read_numbers
from offline.data.namings import FileNaming
from offline.data.sources import open_items
from offline.encoding.item_vectors import encode_items
from offline.encoding.onnx_export import OnnxTextEncoder
from offline.inputs import DEFAULT_ITEM_KIND
from offline.item_text import item_texts
from offline.knowledge.config import NO_MODEL, KnowledgeConfig
from offline.knowledge.generation import generate_knowledge
from offline.knowledge.provenance import texts_of
from offline.knowledge.report import describe_counts
from offline.recipe import Recipe, recipe_of

Log = Callable[[str], None]


def add_fresh_items(
    items: Path,
    client: redis.Redis,
    *,
    naming: FileNaming | None = None,
    generate: bool = False,
    log: Log = print,
    report: Report | None = None,
) -> dict[str, int]:
    """Read a catalogue file, and publish the items that published versions don't know yet.

    The encoder in the active version's bundle encodes the texts, so that a tuned one is needed
    nowhere else; every published version with the same text encoder gets its unknown items.
    Items that all of them know cost nothing. A killed run is finished by the next: answers of the
    language model are kept as they come, and an item is in the store wholly or not at all.

    Args:
        items: the catalogue file.
        client: of the store.
        naming: what was said about the file's columns.
        generate: have the language model of the active version's recipe describe each item; else
            only where the recipe has `generate`.
        log: called with lines of progress.
        report: called while items are written into the store.

    Returns:
        For each such version, the number of items that were new to it.

    Raises:
        InputError: the file can't be used, an attribute doesn't fit the catalogue's, no version
            is active, or the active one has no text encoder or no recipe; or items are new, and
            its recipe is of another release.
        ConfigError: items are new, and `generate` with a recipe that has no language model.
    """
    bundle = active_bundle(client)
    if fault := why_none_are_taken(bundle):
        raise InputError(fault)
    ids, attributes = read_items(items, naming, bundle.attributes, log)
    return add_new(
        ids, attributes, bundle, client, path=items, generate=generate, log=log, report=report
    )


def active_bundle(client: redis.Redis) -> Bundle:
    """The active version's bundle.

    Raises:
        InputError: no version is active.
    """
    bundle = open_active(client)
    if bundle is None:
        raise InputError("no version is active, so there is none to give fresh items to")
    return bundle


def add_new(
    ids: IdMap,
    attributes: ItemAttributes,
    bundle: Bundle,
    client: redis.Redis,
    *,
    path: Path,
    generate: bool = False,
    log: Log = print,
    report: Report | None = None,
) -> dict[str, int]:
    """Publish those of some items that published versions don't know; see `add_fresh_items`.

    Args:
        ids: of the items, known or not.
        attributes: of the same items, all of them attributes of the bundle's catalogue.
        bundle: of the active version, which takes new items; see `why_none_are_taken`.
        client: of the store.
        path: of the file that they were read from, for messages.
        generate, log, report: as for `add_fresh_items`.
    """
    assert bundle.manifest.encoder is not None  # noqa: S101 - it takes new items
    encoder_name = bundle.manifest.encoder.name
    new = find_new(ids.ids, client, encoder=encoder_name)
    unknown = set().union(*new.values())
    log(f"{path}: {len(ids):,} items, {len(unknown):,} of them new")
    if not unknown:
        return dict.fromkeys(new, 0)
    recipe, config = choices_of(bundle, generate=generate)
    kept = [row for row, item_id in enumerate(ids.ids) if item_id in unknown]
    all_texts = item_texts(attributes, ids, config.text_columns)
    texts = [all_texts[row] for row in kept]
    knowledge, counts = generate_knowledge(texts, config, cache_folder(), open_model=open_writer)
    log(f"described: {describe_counts(counts)}")
    encoder = OnnxTextEncoder.open(bundle.folder)
    vectors = encode_items(texts, knowledge.texts, recipe.encoding, encoder)
    written = texts_of(knowledge, config)
    if is_aligned(config.model):
        written = [text and _as_aligned(text) for text in written]
    fresh = [
        FreshItem(ids.ids[row], vector, attributes.row(row + 1), text)
        for row, vector, text in zip(kept, vectors, written, strict=True)
    ]
    return publish_fresh(fresh, client, encoder=encoder_name, report=report)


def why_none_are_taken(bundle: Bundle) -> str | None:
    """The reason why a version takes no new items; None if it does."""
    described = bundle.manifest.encoder
    if described is None or not described.has_graph:
        return f"version {bundle.version!r} has no text encoder, so it can't take fresh items"
    if "recipe" not in bundle.manifest.configuration:
        return (
            f"version {bundle.version!r} was built without a recipe, so it can't take fresh items"
        )
    return None


def choices_of(bundle: Bundle, *, generate: bool) -> tuple[Recipe, KnowledgeConfig]:
    """The recipe that a version was built with, and how its items are described.

    Raises:
        InputError: it is a recipe of another release.
        ConfigError: `generate` with a recipe that has no language model.
    """
    recipe = recipe_of(bundle.manifest)
    item_kind = bundle.manifest.configuration.get("item_kind", DEFAULT_ITEM_KIND)
    config = recipe.knowledge.model_copy(update={"item_kind": item_kind})
    if generate and config.model == NO_MODEL:
        raise ConfigError(
            f"the recipe of version {bundle.version!r} has no language model to describe items"
        )
    changes: dict[str, object] = {"generate": generate or config.generates}
    info = bundle.manifest.knowledge
    if info is not None and info.source.aligned:
        # Its recommender has learnt to read what the aligned model writes.
        changes["model"] = info.source.model
    return recipe, config.model_copy(update=changes)


def _as_aligned(text: KnowledgeText) -> KnowledgeText:
    return text.model_copy(update={"source": text.source.model_copy(update={"aligned": True})})


def read_items(
    path: Path,
    naming: FileNaming | None,
    known: ItemAttributes,
    log: Log,
    *,
    further: Mapping[str, AttributeKind] | None = None,
) -> tuple[IdMap, ItemAttributes]:
    """The items of a catalogue file, with those of its columns that a version has.

    Args:
        path: the file.
        naming: what was said about its columns.
        known: the version's attributes, whose kinds the values get.
        log: called with what is left out.
        further: columns to be read as well, if the file has them, and their kinds; such a file
            needs no titles.

    Raises:
        InputError: the file can't be used, or a value is not of its attribute's kind.
    """
    source, issues = open_items(path, naming, needs_title=further is None), Issues()
    # A few rows may look like another kind than the catalogue's: one genre is a text.
    kinds: dict[str, str] = {
        name: attribute.kind
        for name in source.table.schema
        if (attribute := known.get(name)) and attribute.kind != "number"
    }
    further = further or {}
    kinds |= {name: kind for name, kind in further.items() if name in source.table.schema}
    said = naming.kinds if naming else {}
    catalogue = read_catalogue(source.table, source.columns, issues, {**kinds, **said})
    for line in issues.lines():
        log(f"  {line}")
    fitted: list[Attribute] = []
    for name in catalogue.attributes.names:
        attribute, target = catalogue.attributes.get(name), known.get(name)
        if attribute is not None and name in further:
            fitted.append(attribute)
        elif attribute is None or target is None:
            log(f"  {path}: column {name!r} is no attribute of the active version and is left out")
        else:
            fitted.append(_fitted(attribute, target, catalogue.item_ids, path))
    return IdMap(catalogue.item_ids), ItemAttributes(fitted, len(catalogue.item_ids))


def _fitted(
    attribute: Attribute, target: Attribute, item_ids: Sequence[str], path: Path
) -> Attribute:
    """The attribute with the catalogue's kind, where its values allow that."""
    if target.kind == "number":
        unfit = _find_no_number(attribute)
        if unfit is not None:
            raise InputError(
                f"{path}: item {item_ids[unfit]!r}: {attribute.name} {attribute.values[unfit]!r} "
                "is no number, as it is in the active version"
            )
    try:
        return Attribute(attribute.name, target.kind, attribute.values)
    except ValueError as error:
        raise InputError(f"{path}: {error}") from error


def _find_no_number(attribute: Attribute) -> int | None:
    """The first item that keeps an attribute from being one of numbers; None where none does."""
    texts = [row for row, value in enumerate(attribute.values) if isinstance(value, str | list)]
    if not texts:
        return None
    # Where one value is no number, all come as texts, those of numbers too.
    slips = read_numbers(pl.Series([str(attribute.values[row]) for row in texts])).is_slip
    return next((row for row, is_slip in zip(texts, slips, strict=True) if is_slip), texts[0])
