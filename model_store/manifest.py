"""A bundle's manifest, `manifest.json`, schema version 2."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    FiniteFloat,
    StringConstraints,
    Tag,
    ValidationError,
    field_validator,
    model_validator,
)

from model_store.errors import BundleError, BundleUnavailable
from model_store.event_rules import DEFAULT_EVENTS, EventsInfo
from model_store.files import write_atomically
from model_store.knowledge_texts import KnowledgeSource, Name
from model_store.reading import bundle_errors, parse_json
from model_store.repeats import Repeats
from model_store.reranker import RerankerInfo
from model_store.signatures import SIGNATURE
from model_store.texts import shorten

SCHEMA_VERSION = 2
MAX_ITEMS = 2**31 - 2
"""The largest count in an int32, padding included."""
MAX_LENGTH = 10_000
"""Longest history of a request, in items."""
MAX_SIZE = 65_536
_NO_FILES = {"", ".", "..", "manifest.json", SIGNATURE}
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def check_version(version: str) -> str:
    """A version is part of file names and store keys, so its letters are few.

    Raises:
        ValueError: other letters than A-Z a-z 0-9 . _ -, or more than 64 of them.
    """
    if not _VERSION.fullmatch(version):
        raise ValueError(
            f"version {version!r} must be 1 to 64 of A-Z a-z 0-9 . _ - "
            "and begin with a letter or a digit"
        )
    return version


Kind = Literal["sequential", "direct", "rating"]
"""Kind of model: a network over the order of a history, user and item vectors of a graph of
interactions, or predictors of ratings."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Tensor(_Frozen):
    """A graph's input or output; a text in `shape` names a free dimension."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]


class FileEntry(_Frozen):
    """One file of the bundle."""

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    size_bytes: int = Field(ge=0)


class ModelInfo(_Frozen):
    """The sequence model: `model.onnx`."""

    name: Name
    embedding_size: int = Field(gt=0, le=MAX_SIZE, description="D")
    max_length: int = Field(
        gt=0, le=MAX_LENGTH, description="longer histories are cut to their last max_length"
    )
    repeats: Repeats = Field(
        "keep", description="how training collapsed repeats of an item, and requests do"
    )
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]

    @model_validator(mode="after")
    def _is_sequence_graph(self) -> Self:
        expected = _sequence_tensors(self.embedding_size)
        for given, wanted in zip((self.inputs, self.outputs), expected, strict=True):
            if [_layout(tensor) for tensor in given] != [_layout(tensor) for tensor in wanted]:
                raise ValueError(
                    f"tensors {shorten(str([_layout(tensor) for tensor in given]))} are not those "
                    f"of a sequence graph: {[_layout(tensor) for tensor in wanted]}"
                )
        return self

    @classmethod
    def of_sequence_graph(cls, name: str, embedding_size: int, max_length: int) -> ModelInfo:
        """The inputs and outputs of every exported sequence graph; B, L and N are free."""
        inputs, outputs = _sequence_tensors(embedding_size)
        return cls(
            name=name,
            embedding_size=embedding_size,
            max_length=max_length,
            inputs=inputs,
            outputs=outputs,
        )


def _sequence_tensors(embedding_size: int) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Inputs and outputs."""
    inputs = (
        Tensor(name="history", dtype="int64", shape=("B", "L")),
        Tensor(name="item_table", dtype="float32", shape=("N+1", embedding_size)),
    )
    outputs = (
        Tensor(name="scores", dtype="float32", shape=("B", "N+1")),
        Tensor(name="user", dtype="float32", shape=("B", embedding_size)),
    )
    return inputs, outputs


def _layout(tensor: Tensor) -> tuple[str, str, tuple[int | None, ...]]:
    """The comparable part of a tensor; a free dimension may have any name."""
    shape = tuple(size if isinstance(size, int) else None for size in tensor.shape)
    return tensor.name, tensor.dtype, shape


class RatingModelInfo(_Frozen):
    """A predictor of ratings: `model.onnx` over rows of `user_table.npy` and `item_table.npy`."""

    name: Name
    embedding_size: int = Field(gt=0, le=MAX_SIZE, description="numbers of an item_table row")
    user_size: int = Field(
        gt=0,
        le=MAX_SIZE,
        multiple_of=2,
        description="numbers of a user_table row; half of them are the mean of rated_table rows",
    )
    max_length: int = Field(
        gt=0, le=MAX_LENGTH, description="last items of a history that make this mean"
    )
    lowest: FiniteFloat = Field(description="of the ratings; predictions are clipped to it …")
    highest: FiniteFloat = Field(description="… and to this one")
    max_ranked: int = Field(
        gt=0, le=MAX_ITEMS, description="items that a request ranks, the most popular allowed ones"
    )
    repeats: Repeats = Field("keep", description="how requests collapse repeats in a history")
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]

    @model_validator(mode="after")
    def _is_rating_graph(self) -> Self:
        if self.lowest >= self.highest:
            raise ValueError(f"ratings from {self.lowest:g} to {self.highest:g} are no scale")
        expected = _rating_tensors(self.user_size, self.embedding_size)
        for given, wanted in zip((self.inputs, self.outputs), expected, strict=True):
            if [_layout(tensor) for tensor in given] != [_layout(tensor) for tensor in wanted]:
                raise ValueError(
                    f"tensors {shorten(str([_layout(tensor) for tensor in given]))} are not those "
                    f"of a rating graph: {[_layout(tensor) for tensor in wanted]}"
                )
        return self

    @classmethod
    def of_rating_graph(
        cls,
        name: str,
        user_size: int,
        item_size: int,
        scale: tuple[float, float],
        *,
        max_length: int,
        max_ranked: int,
    ) -> RatingModelInfo:
        """The inputs and outputs of every exported rating graph; M is free."""
        inputs, outputs = _rating_tensors(user_size, item_size)
        return cls(
            name=name,
            embedding_size=item_size,
            user_size=user_size,
            lowest=scale[0],
            highest=scale[1],
            max_length=max_length,
            max_ranked=max_ranked,
            inputs=inputs,
            outputs=outputs,
        )


def _rating_tensors(
    user_size: int, item_size: int
) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Inputs and outputs."""
    inputs = (
        Tensor(name="user", dtype="float32", shape=(1, user_size)),
        Tensor(name="items", dtype="float32", shape=("M", item_size)),
    )
    return inputs, (Tensor(name="ratings", dtype="float32", shape=("M",)),)


def _is_rating_model(value: Any) -> str:
    has_users = "user_size" in value if isinstance(value, dict) else hasattr(value, "user_size")
    return "rating" if has_users else "sequential"


class EncoderInfo(_Frozen):
    """The text encoder whose space the knowledge vectors live in."""

    name: Name
    vector_size: int = Field(gt=0, le=MAX_SIZE, description="K")
    has_graph: bool = Field(description="text_encoder.onnx is in the bundle")


class KnowledgeInfo(_Frozen):
    """The texts that a language model wrote about items: `knowledge_text*.npy`."""

    source: KnowledgeSource
    n_texts: int = Field(gt=0, le=MAX_ITEMS, description="items that have one")


class Probe(_Frozen):
    """How wide a retriever has to look, as measured when it was built."""

    depth: int = Field(gt=0, description="for the `depth` best items of the whole catalogue …")
    lists: int = Field(gt=0, description="… this many of its lists are looked into")
    spread_weight: FiniteFloat = Field(
        0.0, ge=0, description="… ranked by centre score plus this many list_stds"
    )
    rescored: int = Field(gt=0, description="… and this many candidates scored exactly")
    recall: float = Field(ge=0, le=1, description="share of those `depth` items then found")


class RetrieverInfo(_Frozen):
    """The index for catalogues too large to score every item of."""

    kind: Literal["ivf_pq_fast_scan"] = "ivf_pq_fast_scan"
    n_lists: int = Field(gt=0, le=MAX_SIZE, description="clusters of items")
    code_bytes: int = Field(gt=0, le=MAX_SIZE, description="of one item's code")
    n_outliers: int = Field(0, ge=0, description="items in none of them, which are always scored")
    probes: tuple[Probe, ...] = Field(min_length=1, description="by rising depth")
    wide_probes: tuple[Probe, ...] = Field(
        (), description="the same where all but ten of the depth were found before and are excluded"
    )
    n_queries: int = Field(gt=0, description="user vectors that recall was measured on")

    @field_validator("probes", "wide_probes")
    @classmethod
    def _depths_rise(cls, probes: tuple[Probe, ...]) -> tuple[Probe, ...]:
        depths = [probe.depth for probe in probes]
        if depths != sorted(set(depths)):
            raise ValueError(f"depths {depths} must rise")
        return probes


class Manifest(_Frozen):
    """Everything needed to check, load and trace a bundle."""

    schema_version: Literal[2] = 2
    kind: Kind = Field("sequential", description="kind of model")
    version: str
    created_at: Name
    model: Annotated[
        Annotated[ModelInfo, Tag("sequential")] | Annotated[RatingModelInfo, Tag("rating")],
        Discriminator(_is_rating_model),
    ]
    encoder: EncoderInfo | None
    knowledge: KnowledgeInfo | None = Field(None, description="none: no texts of items are in it")
    retriever: RetrieverInfo | None = Field(None, description="none: every item is scored")
    reranker: RerankerInfo | None = Field(None, description="none: no language model reranks")
    events: EventsInfo = Field(
        DEFAULT_EVENTS, description="how training read interactions, and requests read events"
    )
    n_items: int = Field(gt=0, le=MAX_ITEMS)
    n_users: int = Field(ge=0, le=MAX_ITEMS)
    files: dict[str, FileEntry]
    metrics: dict[str, FiniteFloat]
    inputs: dict[str, str] = Field(description="sha256 of the files that the bundle was built from")
    configuration: dict[str, Any]
    code_revision: Annotated[str, StringConstraints(max_length=500)]

    @field_validator("version")
    @classmethod
    def _version_is_plain(cls, version: str) -> str:
        return check_version(version)

    @field_validator("files")
    @classmethod
    def _files_stay_inside(cls, files: dict[str, FileEntry]) -> dict[str, FileEntry]:
        for name in files:
            if Path(name).name != name or name in _NO_FILES:
                raise ValueError(f"file name {name!r} must be a plain name inside the bundle")
        return files

    @model_validator(mode="after")
    def _searches_fit(self) -> Self:
        info = self.retriever
        for probe in (*info.probes, *info.wide_probes) if info else ():
            if probe.lists > info.n_lists or max(probe.depth, probe.rescored) > self.n_items:  # type: ignore[union-attr]
                raise ValueError(f"a retriever can't search so widely: {probe!r}")
        return self

    @model_validator(mode="after")
    def _model_is_of_the_kind(self) -> Self:
        if isinstance(self.model, RatingModelInfo) != (self.kind == "rating"):
            raise ValueError(f"model {self.model.name!r} is none of kind {self.kind!r}")
        if self.kind == "rating" and not self.n_users:
            raise ValueError("a rating model predicts for users, and n_users is 0")
        return self

    def answers_as(self, other: Manifest) -> bool:
        """Whether another bundle gives the same answers: only names, times and notes may differ."""
        notes = {"version", "created_at", "metrics", "inputs", "configuration", "code_revision"}
        return self.model_dump(exclude=notes) == other.model_dump(exclude=notes)

    def save(self, path: Path) -> None:
        """Write as JSON, whole or not at all."""
        write_atomically(path, self.to_json())

    def to_json(self) -> bytes:
        """The bytes of its file."""
        return (self.model_dump_json(indent=2) + "\n").encode()

    @classmethod
    def load(cls, path: Path) -> Manifest:
        """Read and check.

        Raises:
            BundleUnavailable: no manifest is there, or it can't be read now.
            BundleError: it is of another schema version, or a field is wrong.
        """
        return cls.parse(cls.read(path), path)

    @staticmethod
    def read(path: Path) -> bytes:
        """The bytes of a manifest.

        Raises:
            BundleUnavailable: no manifest is there, or it can't be read now.
        """
        if not path.exists():
            inner = path.parent / "bundle"
            hint = f"; did you mean {inner}?" if (inner / path.name).exists() else ""
            raise BundleUnavailable(
                f"{path.parent}: no bundle here (there is no {path.name}){hint}"
            )
        with bundle_errors(path, "not readable"):
            return path.read_bytes()

    @classmethod
    def parse(cls, content: bytes, place: Path | str) -> Manifest:
        """Check the bytes of a manifest.

        Args:
            content: the bytes.
            place: where they are from, for messages.

        Raises:
            BundleError: it is of another schema version, or a field is wrong.
        """
        document = parse_json(content, place)
        with bundle_errors(place, "not a manifest"):
            try:
                return cls.model_validate_json(json.dumps(_upgraded(document, place)))
            except ValidationError as error:
                first = error.errors(include_url=False)[0]
                where = ".".join(str(part) for part in first["loc"]) or "file"
                raise BundleError(f"{place}: {shorten(where)}: {shorten(first['msg'])}") from error


def _upgraded(document: Any, place: Path | str) -> Any:
    """The document in the present schema.

    Raises:
        BundleError: its schema can't be converted to the present one.
    """
    if not isinstance(document, dict) or document.get("schema_version") != 1:
        return document
    if document.get("retriever") is not None:
        # A retriever's files were renamed.
        raise BundleError(
            f"{place}: schema version 1 with a retriever can't be read any more; "
            "run `longtail build` again"
        )
    return {**document, "schema_version": SCHEMA_VERSION, "kind": "sequential"}
