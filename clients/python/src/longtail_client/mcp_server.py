"""Tools for language models: recommendations of a running service, by the Model Context Protocol.

Needs the extra `mcp`.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Annotated, cast

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import ToolAnnotations
from pydantic import BaseModel, Field

from longtail_client.answers import (
    Explanation,
    RecommendResponse,
    SimilarResponse,
)
from longtail_client.async_client import AsyncClient
from longtail_client.calls import Answer
from longtail_client.errors import LongtailError
from longtail_client.requests import Filter, RecommendRequest
from longtail_client.version import VERSION

INSTRUCTIONS = """\
Recommendations from the catalogue of a shop, a library or the like. Items are named by their ids; \
`fields` adds their attributes, such as the title. Say for whom with a user's id, with the ids of \
items that a person liked (oldest first), or with their interests in plain words.\
"""

UserId = Annotated[str | None, Field(description="A user that the service knows.")]
History = Annotated[
    list[str] | None,
    Field(description="Ids of items that the person chose, oldest first; replaces what is stored."),
]
Excluded = Annotated[list[str] | None, Field(description="Ids of items to leave out.")]
Count = Annotated[int, Field(ge=1, le=100, description="How many items.")]
Fields = Annotated[
    list[str],
    Field(description="Attributes to return with each item; an error lists the known ones."),
]


class Condition(BaseModel):
    """Conditions on one attribute; all given ones must hold."""

    any: list[str | bool | float] | None = Field(default=None, description="Has one of these.")
    all: list[str | bool | float] | None = Field(default=None, description="Has all of these.")
    none: list[str | bool | float] | None = Field(default=None, description="Has none of these.")
    gte: float | None = Field(default=None, description="At least this number.")
    lte: float | None = Field(default=None, description="At most this number.")


Filters = Annotated[
    dict[str, Condition] | None,
    Field(
        description="Conditions by attribute, all of which must hold: "
        '{"genres": {"any": ["Comedy"]}, "year": {"gte": 1990}}.'
    ),
]


class ItemExplanation(BaseModel):
    """Reasons why an item is recommended to a person."""

    item_id: str
    score: float
    fields: dict[str, object]
    explanation: Explanation | None
    degraded: list[str]


class Tools:
    """The tools, over a client of the service.

    Args:
        client: asks the service.
    """

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def recommend(
        self,
        user_id: UserId = None,
        history: History = None,
        interests: Annotated[
            str | None,
            Field(description="What a person without a history likes, in plain words."),
        ] = None,
        k: Count = 10,
        filters: Filters = None,
        exclude: Excluded = None,
        fields: Fields = ["title"],  # noqa: B006 - it is never changed
    ) -> RecommendResponse:
        """Recommend items to a person: to a known user, by items they chose, or by interests."""
        request = RecommendRequest(
            user_id=user_id,
            history=history,
            interests=interests,
            k=k,
            filters=_given(filters),
            exclude=exclude,
            fields=fields,
        )
        return await _answered(self._client.recommend(**request))

    async def similar_items(
        self,
        item_id: Annotated[str, Field(description="The item that others are to be like.")],
        k: Count = 10,
        filters: Filters = None,
        fields: Fields = ["title"],  # noqa: B006
    ) -> SimilarResponse:
        """Find the items most similar to one."""
        asked = self._client.similar_items(item_id, k=k, fields=fields, filters=_given(filters))
        return await _answered(asked)

    async def explain(
        self,
        item_id: Annotated[str, Field(description="The item in question.")],
        user_id: UserId = None,
        history: History = None,
        fields: Fields = ["title"],  # noqa: B006
    ) -> ItemExplanation:
        """Explain why an item is recommended to a person.

        Names the past items that contributed most to its score, and the operators' rules that
        moved it.
        """
        answer = await _answered(
            self._client.recommend(
                user_id=user_id,
                history=history,
                candidates=[item_id],
                k=1,
                exclude_seen=False,
                rerank="never",
                explain=True,
                fields=fields,
            )
        )
        if not answer.items:
            is_unknown = any(what.startswith("unknown_candidates") for what in answer.degraded)
            reason = "unknown" if is_unknown else "withdrawn, hidden by a rule, or disliked"
            raise ToolError(f"item {item_id!r} is in no answer to this person: it is {reason}")
        [item] = answer.items
        return ItemExplanation(
            item_id=item.item_id,
            score=item.score,
            fields=item.fields or {},
            explanation=item.explanation,
            degraded=answer.degraded,
        )


def make_server(client: AsyncClient) -> MCPServer:
    """A server of the tools.

    Args:
        client: asks the service, which need not be there yet.
    """
    server = MCPServer("longtail", instructions=INSTRUCTIONS, version=VERSION, log_level="WARNING")
    tools = Tools(client)
    reads = ToolAnnotations(read_only_hint=True, open_world_hint=False)
    for tool in (tools.recommend, tools.similar_items, tools.explain):
        server.add_tool(tool, annotations=reads)
    return server


def _given(filters: dict[str, Condition] | None) -> dict[str, Filter] | None:
    """Conditions as the service reads them."""
    if filters is None:
        return None
    return {name: cast(Filter, one.model_dump(exclude_none=True)) for name, one in filters.items()}


async def _answered(asked: Awaitable[Answer]) -> Answer:
    """The answer; a failure becomes an error that the language model reads.

    Raises:
        ToolError: the service's message.
    """
    try:
        return await asked
    except LongtailError as error:
        raise ToolError(str(error)) from error
