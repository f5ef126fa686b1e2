"""The JSON document of an answer, also of one that comes as a stream of events unasked."""

from __future__ import annotations

import json
from typing import Any

from model_store.endpoint_problem import EndpointProblem

_STREAM_END = "[DONE]"


class Garbled(Exception):  # noqa: N818 - names its subject
    """An answer of status 200 that isn't what was asked for."""


def parse_answer(content: bytes) -> Any:
    """The document of an answer's body.

    Some servers stream whatever they are asked; the pieces are put together as if they had not.
    Others keep the connection alive with comments (": working") before the document.

    Raises:
        Garbled: it is no JSON, or a stream that ends too early.
    """
    text = content.decode(json.detect_encoding(content), "replace")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith(":")]
    events = [line[5:].strip() for line in lines if line.startswith("data:")]
    if events and lines[0].startswith(("data:", "event:", "id:", "retry:")):
        chunks = [_loads(event, content) for event in events if event != _STREAM_END]
        return _join(chunks, has_end=_STREAM_END in events)
    return _loads("\n".join(lines) if text.lstrip().startswith(":") else text, content)


def _loads(text: str, content: bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        message = EndpointProblem.of(200, content).message
        raise Garbled(f"is not JSON: {message}") from None


def _join(chunks: list[Any], *, has_end: bool) -> Any:
    """One completion of the chunks of a stream; an error, or a whole completion, is taken alone."""
    message: dict[str, str] = {}
    whole: dict[str, Any] = {}
    finish_reason = None
    for chunk in chunks:
        match chunk:
            case {"choices": [{"delta": dict(delta)} as choice, *_]}:
                for name, part in delta.items():
                    if isinstance(part, str) and name != "role":
                        message[name] = message.get(name, "") + part
                finish_reason = choice.get("finish_reason") or finish_reason
            case {"choices": [{"message": _}, *_]} | {"error": _}:
                return chunk
        if isinstance(chunk, dict):
            whole |= {name: value for name, value in chunk.items() if value is not None}
    if finish_reason is None and not has_end:
        raise Garbled("is a stream that ends too early")
    return {**whole, "choices": [{"message": message, "finish_reason": finish_reason}]}
