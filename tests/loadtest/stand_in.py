"""A service of the contract's shapes, for testing the load generator itself: it can misbehave on
command (stall, fail, forget events), which the real service does not.

Runs as `python -m tests.loadtest.stand_in PORT [MISBEHAVIOUR]`.
"""

from __future__ import annotations

import sys
import time
import uuid
from collections import defaultdict
from typing import Any

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel

N_ITEMS = 300
KEY = "lt_0a1b2c3d_secret-of-a-caller"
KNOWN_USERS = [str(number) for number in range(1, 21)]


class Wanted(BaseModel):
    user_id: str | None = None
    history: list[str] | None = None
    k: int = 10


class Event(BaseModel):
    user_id: str
    item_id: str


class Events(BaseModel):
    events: list[Event]


def make_service(misbehaviour: str = "none") -> FastAPI:
    service = FastAPI()
    seen: defaultdict[str, list[str]] = defaultdict(list)
    state = {"requests": 0, "stalled": False, "first_s": 0.0}

    @service.middleware("http")
    async def check_key(request: Request, answer: Any) -> Any:
        is_open = misbehaviour != "wants a key" or request.url.path.startswith("/health")
        if is_open or request.headers.get("authorization") == f"Bearer {KEY}":
            return await answer(request)
        return JSONResponse({"status": 401, "detail": "the caller's key is missing"}, 401)

    @service.get("/health/ready")
    def ready() -> dict[str, Any]:
        return {"status": "ready", "version": "stand-in-1", "execution_provider": "none"}

    # An async handler that sleeps blocks the whole service, as a stall does.
    @service.post("/recommend")
    async def recommend(wanted: Wanted, response: Response) -> Any:
        now_s = time.monotonic()
        state["requests"] += 1
        state["first_s"] = state["first_s"] or now_s
        if misbehaviour == "stall" and not state["stalled"] and now_s - state["first_s"] > 1.0:
            state["stalled"] = True
            time.sleep(1.0)
        if misbehaviour == "fail" and state["requests"] % 4 == 0:
            response.status_code = 503
            return {"title": "not ready", "status": 503}
        known = wanted.history or wanted.user_id in KNOWN_USERS or seen[str(wanted.user_id)]
        taken = set() if misbehaviour == "forget" else set(seen[str(wanted.user_id)])
        items = [f"i{number}" for number in range(N_ITEMS) if f"i{number}" not in taken]
        return {
            "request_id": uuid.uuid4().hex,
            "user_id": wanted.user_id,
            "model_version": "stand-in-1",
            "served_by": "model" if known else "popular",
            "rerank": "skipped",
            "degraded": ["features"] if misbehaviour == "fail" else [],
            "items": [
                {"item_id": item_id, "rank": rank, "score": 1.0 / rank, "explanation": None}
                for rank, item_id in enumerate(items[: wanted.k], start=1)
            ],
            "timings_ms": {"features": 0.0, "inference": 0.0, "rerank": 0.0, "total": 0.0},
        }

    @service.post("/events")
    async def take_events(events: Events) -> dict[str, Any]:
        for event in events.events:
            seen[event.user_id].append(event.item_id)
        return {"accepted": len(events.events), "unknown_items": 0, "degraded": []}

    @service.get("/items/{item_id}/similar")
    async def similar(item_id: str) -> dict[str, Any]:
        number = int(item_id.removeprefix("i"))
        items = [
            {"item_id": f"i{(number + step) % N_ITEMS}", "rank": step, "score": 1 / step}
            for step in range(1, 11)
        ]
        return {"item_id": item_id, "model_version": "stand-in-1", "items": items}

    return service


if __name__ == "__main__":
    uvicorn.run(
        make_service(sys.argv[2] if len(sys.argv) > 2 else "none"),
        host="127.0.0.1",
        port=int(sys.argv[1]),
        log_level="warning",
    )
