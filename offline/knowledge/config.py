"""Settings of knowledge: model, prompt, generation."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from model_store.endpoint_access import holds_secret

NO_MODEL = "none"
DEFAULT_MODEL = "smollm2-135m-instruct"


class KnowledgeConfig(BaseModel):
    """Settings of the knowledge stage; frozen, and unknown names are rejected.

    The bundled knowledge of MovieLens-100K was generated with the defaults.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = Field(
        default=DEFAULT_MODEL,
        min_length=1,
        description="short name, Hugging Face id, folder or .gguf file; with base_url, the name "
        'the endpoint knows; "none" for no knowledge at all',
    )
    base_url: str | None = Field(
        default=None,
        description="OpenAI-compatible endpoint, such as http://127.0.0.1:8001/v1, or the whole "
        "address of its chat completions; its key comes from LONGTAIL_LLM_API_KEY",
    )
    generate: bool | None = Field(
        default=None,
        description="have the model write what is neither bundled nor cached, which may take "
        "hours; otherwise such items are known by their own texts. Unset: yes with an endpoint "
        "or another model than the default",
    )
    prompt: str = Field(
        default="v1", min_length=1, description="version of the prompt, or the path of a .txt file"
    )
    text_columns: tuple[str, ...] | None = Field(
        default=None,
        description="attributes that make an item's own text, beside the title; unset: texts and "
        "lists with words in them, and years, without dates, addresses, codes and flags",
    )
    item_kind: str = Field(
        default="item", min_length=1, description='kind of item in the catalogue, such as "film"'
    )
    max_new_tokens: int = Field(default=64, ge=8, le=4096, description="length of an answer")
    temperature: float = Field(
        default=0.0, ge=0.0, le=2.0, description="0 takes the most likely token (greedy)"
    )
    repetition_penalty: float = Field(
        default=1.1, ge=1.0, le=2.0, description="for models in this process"
    )
    seed: int = Field(default=0, ge=0, description="for sampling")
    retries: int = Field(
        default=2, ge=0, le=10, description="tries after a degenerate answer, at higher temperature"
    )
    batch_size: int = Field(default=16, ge=1, description="prompts at a time, models in process")
    concurrency: int = Field(default=8, ge=1, le=256, description="requests in flight, endpoint")
    timeout_s: float = Field(default=60.0, gt=0, description="of one answer of the endpoint")
    patience_s: float = Field(
        default=900.0,
        ge=0,
        description="how long one request is tried again while the endpoint is overloaded, loads "
        "its model or can't be reached; then the run ends, and the next one goes on from there",
    )
    min_usable: float = Field(
        default=0.5,
        ge=0.0,
        le=1.0,
        description="the run ends, with the reason, where a smaller share of the endpoint's first "
        "answers can be used; 0 never ends it",
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto", description="where a model in this process runs; auto takes CUDA if present"
    )

    @property
    def generates(self) -> bool:
        """Whether the model writes texts that are neither bundled nor cached."""
        if self.generate is None:
            return self.base_url is not None or self.model not in (DEFAULT_MODEL, NO_MODEL)
        return self.generate

    @field_validator("base_url")
    @classmethod
    def _recipes_hold_no_secret(cls, url: str | None) -> str | None:
        if url is not None and holds_secret(url):
            raise ValueError(
                "may hold a secret, which a bundle would show; LONGTAIL_LLM_API_KEY "
                "has the key, or a whole header such as 'Basic ...'"
            )
        return url

    @model_validator(mode="after")
    def _without_a_model_nothing_is_generated(self) -> Self:
        if self.generate and self.model == NO_MODEL:
            raise ValueError(f'generate = true needs a model, not "{NO_MODEL}"')
        return self

    def shaping_settings(self) -> dict[str, str | int | float]:
        """The settings that shape an answer's text, and so belong to its cache key."""
        return {
            "item_kind": self.item_kind,
            "max_new_tokens": self.max_new_tokens,
            "temperature": self.temperature,
            "repetition_penalty": self.repetition_penalty,
            "seed": self.seed,
        }
