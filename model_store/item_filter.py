"""Conditions on items' attributes, as requests and rules write them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    StringConstraints,
    model_validator,
)

MAX_FILTERS = 64

Identifier = Annotated[str, StringConstraints(min_length=1, max_length=512)]
# Long lists end with their first wrong entry: to find and describe a million takes a second.
Identifiers = Annotated[list[Identifier], Field(max_length=10_000, fail_fast=True)]
Number = Annotated[float, Field(allow_inf_nan=False)]


@dataclass(frozen=True)
class OneError:
    """A value that fits no type of a union is one error, not one for each type."""

    name: str
    message: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> Any:
        return {
            **handler(source),
            "custom_error_type": self.name,
            "custom_error_message": self.message,
        }


# Texts first: the types are tried in order, and nearly all values are texts.
FilterValue = Annotated[
    Annotated[str, StringConstraints(max_length=512)] | bool | Number,
    Field(union_mode="left_to_right"),
    OneError(
        "filter_value", "Input should be a text of at most 512 characters, a number or a boolean"
    ),
]
FilterValues = Annotated[list[FilterValue], Field(min_length=1, max_length=1_000, fail_fast=True)]


class Body(BaseModel):
    """Base of what callers and operators write: no value is converted, no unknown field taken."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Filter(Body):
    """A rule on one attribute; all given parts must hold.

    `any` and `none` fit every kind of attribute, `all` lists, `gte` and `lte` numbers.
    """

    any: FilterValues | None = Field(default=None, description="Has at least one of these.")
    all: FilterValues | None = Field(default=None, description="Has every one of these.")
    none: FilterValues | None = Field(default=None, description="Has none of these.")
    gte: Number | None = Field(default=None, description="At least this number.")
    lte: Number | None = Field(default=None, description="At most this number.")

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if all(part is None for part in (self.any, self.all, self.none, self.gte, self.lte)):
            raise ValueError("a filter needs at least one of any, all, none, gte, lte")
        return self

    def given(self) -> dict[str, Any]:
        """Its parts, by name."""
        return self.model_dump(exclude_none=True)


def _few(filters: Any) -> Any:
    # The length of an object is checked after its values otherwise, which may be very many.
    if isinstance(filters, dict) and len(filters) > MAX_FILTERS:
        raise ValueError(f"there are {len(filters)} filters, more than {MAX_FILTERS}")
    return filters


Filters = Annotated[dict[str, Filter], Field(max_length=MAX_FILTERS), BeforeValidator(_few)]


def spelled(value: str | bool | int | float) -> str:
    """A value as it is compared: 7 and 7.0 as "7", true as "true"."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)
