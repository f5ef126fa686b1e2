"""The baseline: a bare FastAPI service with the shapes of `POST /recommend` and no model.

Its items are constant; its cost is HTTP, validation of the request and writing the answer, as
FastAPI does them. Run as `python -m loadtest.echo --port PORT`.
"""

from __future__ import annotations

import argparse
from typing import Annotated, Literal

import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict, Field

Identifier = Annotated[str, Field(min_length=1, max_length=512)]


class EchoRequest(BaseModel):
    """The contract's request, with its limits."""

    model_config = ConfigDict(extra="forbid", strict=True)

    user_id: Identifier | None = None
    history: list[Identifier] | None = None
    k: int = Field(default=10, ge=1, le=1_000)
    exclude: list[Identifier] | None = None
    candidates: list[Identifier] | None = None
    filters: dict[str, dict[str, list[str] | float]] | None = None
    exclude_seen: bool = True
    diversity: float = Field(default=0.0, ge=0, le=1)
    rerank: Literal["auto", "never", "always"] = "auto"
    deadline_ms: int | None = None
    explain: bool = False
    interests: str | None = None
    fields: list[Identifier] | None = None


class EchoItem(BaseModel):
    """One item of the answer."""

    item_id: str
    rank: int
    score: float
    explanation: str | None = None


class EchoTimings(BaseModel):
    """Milliseconds by stage."""

    features: float = 0.2
    inference: float = 0.4
    rerank: float = 0.0
    total: float = 0.9


class EchoResponse(BaseModel):
    """The contract's answer."""

    request_id: str
    user_id: str | None
    model_version: str = "echo"
    served_by: str = "model"
    rerank: str = "skipped"
    degraded: list[str] = []
    items: list[EchoItem]
    timings_ms: EchoTimings = EchoTimings()


ITEMS = [
    EchoItem(item_id=str(300 + rank), rank=rank, score=7.31 - rank / 7) for rank in range(1, 1_001)
]

app = FastAPI()


@app.post("/recommend")
async def recommend(request: EchoRequest) -> EchoResponse:
    """Answer the first k of the constant items."""
    return EchoResponse(
        request_id="00000000000000000000000000000000",
        user_id=request.user_id,
        items=ITEMS[: request.k],
    )


@app.get("/health/ready")
async def ready() -> dict[str, str]:
    """Ready as soon as it listens."""
    return {"status": "ready", "version": "echo"}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    uvicorn.run(
        app,
        host="127.0.0.1",
        port=parser.parse_args().port,
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_level="warning",
    )
