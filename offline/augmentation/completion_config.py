"""Settings of attributes that a language model completes; nothing heavy is imported here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from offline.knowledge.config import DEFAULT_MODEL, KnowledgeConfig

Value = str | int | float | tuple[str, ...]


class CompletedAttribute(BaseModel):
    """An attribute that the catalogue lacks, as a whole or of some items."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1, max_length=80, description="of the attribute")
    kind: Literal["text", "list", "number"] = Field(
        "text", description="of its values; that of the catalogue, where it has the attribute"
    )
    allowed: tuple[str, ...] = Field(
        (),
        description="the only valid texts; empty: those that the catalogue has, or any where it "
        "has none. Numbers must be within those that the catalogue has",
    )
    examples: Mapping[str, Value] = Field(
        {}, description="values by item_id, which are kept; needed where the catalogue has none"
    )

    @model_validator(mode="after")
    def _examples_are_of_the_kind(self) -> Self:
        kinds: dict[str, tuple[type, ...]] = {"list": (tuple,), "number": (int, float)}
        types = kinds.get(self.kind, (str,))
        for item_id, value in self.examples.items():
            if not isinstance(value, types) or isinstance(value, bool):
                raise ValueError(f"examples: {value!r} of {item_id!r} is no {self.kind}")
        if self.kind == "number" and self.allowed:
            raise ValueError("allowed: names texts, and the attribute's values are numbers")
        return self


class CompletionConfig(BaseModel):
    """The table `[completion]` of a recipe: missing attributes of items; off by default."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    attributes: tuple[CompletedAttribute, ...] = Field(
        (),
        description="that are completed, each with name, kind, allowed and examples; empty: none",
    )
    n_examples: int = Field(
        5, ge=1, le=100, description="items with all of these attributes that a prompt shows"
    )
    max_items: int = Field(
        0, ge=0, description="items that are asked about, those with the most interactions; 0: all"
    )
    model: str = Field(
        DEFAULT_MODEL,
        min_length=1,
        description="short name, Hugging Face id, folder or .gguf file; with base_url, the name "
        "the endpoint knows",
    )
    base_url: str | None = Field(
        None,
        description="OpenAI-compatible endpoint; its key comes from LONGTAIL_LLM_API_KEY",
    )
    max_new_tokens: Annotated[int, Field(ge=8, le=4096)] = Field(
        32, description="length of an answer"
    )
    batch_size: int = Field(16, ge=1, description="prompts at a time, models in process")
    concurrency: int = Field(8, ge=1, le=256, description="requests in flight, endpoint")

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        names = [each.name for each in self.attributes]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"attribute {twice!r} is given twice")
        _ = self.language_model  # the endpoint's address is checked there
        return self

    @property
    def language_model(self) -> KnowledgeConfig:
        """How the language model is opened; it takes the likeliest tokens."""
        return KnowledgeConfig(
            model=self.model,
            base_url=self.base_url,
            max_new_tokens=self.max_new_tokens,
            batch_size=self.batch_size,
            concurrency=self.concurrency,
            repetition_penalty=1.0,
        )
