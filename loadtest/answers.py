"""Checks answers against the contract; a fast wrong answer is a failure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SERVED_BY = frozenset({"model", "direct", "rating", "cold_start", "popular"})
RERANK = frozenset({"skipped", "fresh", "cached", "pending", "timed_out"})
TIMINGS_MS = ("features", "inference", "rerank", "total")


def find_recommend_fault(
    status: int, answer: Any, *, k: int, user_id: str | None = None
) -> str | None:
    """The fault of an answer to `POST /recommend`, None if it has none."""
    if status != 200:
        return describe_failure(status, answer)
    if not isinstance(answer, dict):
        return "the answer is not a JSON object"
    return (
        _find_label_fault(answer)
        or (
            f"user_id is {answer.get('user_id')!r}, asked for {user_id!r}"
            if user_id is not None and answer.get("user_id") != user_id
            else None
        )
        or find_items_fault(answer.get("items"), k=k)
        or _find_timing_fault(answer.get("timings_ms"))
    )


def find_similar_fault(status: int, answer: Any) -> str | None:
    """The fault of an answer to `GET /items/{item_id}/similar`, None if it has none."""
    if status != 200:
        return describe_failure(status, answer)
    if not isinstance(answer, dict) or not answer.get("items"):
        return "the answer names no similar items"
    return find_items_fault(answer["items"], k=len(answer["items"]))


def find_event_fault(status: int, answer: Any) -> str | None:
    """The fault of an answer to `POST /events`, None if it has none."""
    return None if 200 <= status < 300 else describe_failure(status, answer)


def find_items_fault(items: Any, *, k: int) -> str | None:
    """The fault of a ranked list of k items, None if it has none."""
    if not isinstance(items, list) or len(items) != k:
        found = len(items) if isinstance(items, list) else "no list of"
        return f"{found} items instead of {k}"
    for rank, item in enumerate(items, start=1):
        if not isinstance(item, dict) or not isinstance(item.get("item_id"), str):
            return f"item {rank} has no item_id"
        if item.get("rank", rank) != rank:
            return f"item {rank} is labelled rank {item['rank']!r}"
        if not isinstance(item.get("score"), int | float):
            return f"item {rank} has no score"
    if len({item["item_id"] for item in items}) != k:
        return "an item is recommended twice"
    return None


def describe_failure(status: int, answer: Any) -> str:
    """One short line for an answer that isn't a success."""
    detail = ""
    if isinstance(answer, dict):
        detail = str(answer.get("detail") or answer.get("title") or "")
    return f"status {status}{': ' if detail else ''}{detail[:120]}"


def _find_label_fault(answer: Mapping[str, Any]) -> str | None:
    for name in ("request_id", "model_version"):
        if not isinstance(answer.get(name), str) or not answer[name]:
            return f"{name} is missing"
    if answer.get("served_by") not in SERVED_BY:
        return f"served_by is {answer.get('served_by')!r}"
    if answer.get("rerank") not in RERANK:
        return f"rerank is {answer.get('rerank')!r}"
    if not isinstance(answer.get("degraded"), list):
        return "degraded is not a list"
    return None


def _find_timing_fault(timings_ms: Any) -> str | None:
    if not isinstance(timings_ms, dict):
        return "timings_ms is missing"
    missing = [name for name in TIMINGS_MS if not isinstance(timings_ms.get(name), int | float)]
    return f"timings_ms has no {missing[0]}" if missing else None
