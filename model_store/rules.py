"""Rules of operators: what they may say, and the set of them that the deployment record holds."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    WithJsonSchema,
    model_validator,
)

from model_store.experiment import Name
from model_store.item_filter import Body, Filters, FilterValue, Identifier, Identifiers

MAX_RULES = 500
MAX_LISTED_ITEMS = 10_000
"""In all rules of a set together: every worker reads them with the deployment record."""
MAX_FACTOR = 1e6
MAX_K = 1_000

RuleName = Annotated[str, StringConstraints(min_length=1, max_length=100)]
Property = Annotated[str, StringConstraints(min_length=1, max_length=64)]
Context = Annotated[dict[Property, FilterValue], Field(max_length=64)]
"""Properties of a request, such as the country that it comes from."""
Factor = Annotated[float, Field(ge=1, le=MAX_FACTOR, allow_inf_nan=False)]


def _check_time(text: str) -> str:
    try:
        unix_s(text)
    except ValueError:
        raise ValueError("not an ISO 8601 time such as 2026-01-31T09:30:00Z") from None
    return text


def unix_s(text: str) -> float:
    """Unix seconds of an ISO 8601 time, which is UTC without an offset.

    Raises:
        ValueError: it is none.
    """
    time = datetime.fromisoformat(text)
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()


Time = Annotated[
    str,
    StringConstraints(max_length=64),
    AfterValidator(_check_time),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]


class Selection(Body):
    """Items that meet the filters, and those listed."""

    filters: Filters | None = Field(
        default=None, description="Rules by attribute name; an item that meets all is selected."
    )
    item_ids: Identifiers | None = Field(default=None, description="These items, too.")

    @model_validator(mode="after")
    def _selects_something(self) -> Self:
        if not self.filters and not self.item_ids:
            raise ValueError("filters or item_ids is needed: it says which items are meant")
        return self


class _Rule(Body):
    model_config = ConfigDict(serialize_by_alias=True)

    name: RuleName = Field(description="Unique; explanations of items name it.")
    begins: Time | None = Field(
        default=None, alias="from", description="The rule holds from this time on; null: always."
    )
    until: Time | None = Field(default=None, description="The rule ends at this time; null: never.")
    context: Context | None = Field(
        default=None, description="Properties that the request's `context` must have."
    )
    arms: Annotated[list[Name], Field(min_length=1, max_length=16)] | None = Field(
        default=None, description="Only for users in these arms of the experiment that runs."
    )

    @model_validator(mode="after")
    def _holds_at_some_time(self) -> Self:
        if self.begins and self.until and unix_s(self.begins) >= unix_s(self.until):
            raise ValueError(f"until ({self.until}) is no later than from ({self.begins})")
        return self


class Hide(Selection, _Rule):
    """Items that are in no answer."""

    action: Literal["hide"]


class Boost(Selection, _Rule):
    """Items whose weight is multiplied."""

    action: Literal["boost"]
    factor: Factor = Field(description="At least 1; 2 doubles an item's weight.")


class Bury(Selection, _Rule):
    """Items whose weight is divided."""

    action: Literal["bury"]
    factor: Factor = Field(description="At least 1; 2 halves an item's weight.")


class Pin(_Rule):
    """An item that has a rank of its own."""

    action: Literal["pin"]
    item_id: Identifier
    rank: int = Field(ge=1, le=MAX_K, description="1 is the first; answers of fewer items lack it.")


class Cap(_Rule):
    """A limit on items of an answer that share a value."""

    action: Literal["cap"]
    attribute: Identifier
    at_most: int = Field(ge=1, le=MAX_K, description="Items with any one value of the attribute.")


Rule = Annotated[Hide | Boost | Bury | Pin | Cap, Field(discriminator="action")]


class RequestBoost(Selection):
    """A boost, or a bury, of one request."""

    name: RuleName | None = Field(default=None, description="For explanations.")
    action: Literal["boost", "bury"] = "boost"
    factor: Factor = Field(description="At least 1; 2 doubles an item's weight, or halves it.")


class RequestCap(Body):
    """A cap of one request."""

    name: RuleName | None = Field(default=None, description="For explanations.")
    action: Literal["cap"] = "cap"
    attribute: Identifier
    at_most: int = Field(ge=1, le=MAX_K, description="Items with any one value of the attribute.")


class Rules(Body):
    """A set of rules, as operators write it; it replaces the one before."""

    rules: Annotated[list[Rule], Field(max_length=MAX_RULES)]

    @model_validator(mode="after")
    def _can_be_told_apart(self) -> Self:
        seen: set[str] = set()
        n_listed = 0
        for rule in self.rules:
            if rule.name in seen:
                raise ValueError(f"two rules are named {rule.name!r}")
            seen.add(rule.name)
            n_listed += len(rule.item_ids or ()) if isinstance(rule, Selection) else 0
        if n_listed > MAX_LISTED_ITEMS:
            raise ValueError(
                f"the rules list {n_listed:,} items, more than {MAX_LISTED_ITEMS:,}; "
                "filters name any number of items"
            )
        return self


class Replaced(BaseModel):
    """Rules that were in force before, in one line."""

    model_config = ConfigDict(frozen=True)

    revision: int
    since: str | None = None
    who: str | None = None
    rules: str


class RuleSet(BaseModel):
    """The rules of the deployment record, with where they come from."""

    model_config = ConfigDict(frozen=True)

    revision: int = Field(
        0, description="Of these rules: the generation in which they were applied first; 0: none."
    )
    since: str | None = Field(None, description="ISO time, UTC: when they were applied first.")
    who: str | None = Field(None, description="By whom.")
    rules: tuple[Rule, ...] = ()

    @property
    def stamp(self) -> tuple[int, str | None]:
        """Tells these rules from all others: an emptied or restored store counts revisions anew."""
        return self.revision, self.since

    def describe(self) -> str:
        """For the audit, as in "3 rules: winter, sold out, two per brand"."""
        names = [rule.name for rule in self.rules]
        if not names:
            return "no rules"
        more = f" and {len(names) - 5} more" if len(names) > 5 else ""
        return f"{len(names)} rule{'s'[: len(names) > 1]}: {', '.join(names[:5])}{more}"

    def replaced(self) -> Replaced:
        """These rules, as they are listed when others are in force."""
        return Replaced(
            revision=self.revision, since=self.since, who=self.who, rules=self.describe()
        )
