"""A bundle's reranker, as its manifest describes it."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, StringConstraints, model_validator

from model_store.aggregation import Weighting
from model_store.rerank_prompt import LABELS, RATINGS, PromptLayout

MAX_TOKENS = 4_096


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class LabelGraph(_Frozen):
    """`reranker.onnx`: a causal language model whose head has the rows of the labels alone.

    Inputs: `tokens` and `positions` int64 [B, L], `mask` bool [B, L, L] (true where the row's token
    attends to the column's), `read_at` int64 [B, M], the places where an answer begins. Output:
    `logits` float32 [B, M, R].
    """

    precision: Literal["float32", "int8"]
    label_tokens: tuple[int, ...] = Field(
        min_length=len(LABELS), max_length=len(LABELS), description="rows of the labels, in order"
    )
    rating_tokens: tuple[int, ...] = Field(
        min_length=len(RATINGS), max_length=len(RATINGS), description="rows behind them"
    )
    max_tokens: int = Field(gt=0, le=MAX_TOKENS, description="longest prompt; others are not asked")
    begins_with: tuple[int, ...] = Field(
        (), max_length=4, description="tokens in front of each prompt, such as <bos>"
    )
    rank_agreement: FiniteFloat = Field(
        ge=-1, le=1, description="mean Spearman correlation with the float32 model's ranking"
    )

    @property
    def n_rows(self) -> int:
        """R."""
        return len(self.label_tokens) + len(self.rating_tokens)


class RerankerInfo(_Frozen):
    """How a language model reranks (Llama4Rec 4.4 and 4.5)."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=500)]
    mode: Literal["listwise", "pointwise"] = "listwise"
    layout: PromptLayout
    weighting: Weighting
    label_bias: tuple[FiniteFloat, ...] = Field(
        (),
        description="mean log-probability of each label over prompts with permuted candidates, "
        "subtracted from a candidate's; empty: none",
    )
    graph: LabelGraph | None = Field(
        None, description="none: a language model behind an endpoint answers"
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.label_bias and len(self.label_bias) != self.layout.n_candidates:
            raise ValueError(
                f"label_bias has {len(self.label_bias)} values for "
                f"{self.layout.n_candidates} candidates"
            )
        return self
