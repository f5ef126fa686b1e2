"""Reads a chat completion, in the forms that servers give it."""

from __future__ import annotations

import json
import re
from typing import Any

from model_store.texts import well_formed
from offline.knowledge.endpoint.body import Garbled
from offline.knowledge.flaws import Flaw
from offline.knowledge.language_model import Answer
from offline.knowledge.thinking import without_thinking
from offline.knowledge.wrapping import unwrapped

_THOUGHTS = ("reasoning_content", "reasoning", "thinking")
_THOUGHT_PART = re.compile("reason|think|thought", re.IGNORECASE)


class NoChoices(Garbled):
    """A completion without any answer."""


def read_completion(document: Any) -> Answer:
    """The answer of a chat completion, with a flaw where there is none in its message.

    Raises:
        Garbled: it is no chat completion; NoChoices: it has no choices.
    """
    match document:
        case {"choices": [{"message": dict(message)} as choice, *_]}:
            pass
        case {"choices": []}:
            raise NoChoices("has no choices")
        case _:
            raise Garbled(f"is not a chat completion: {json.dumps(document)}")
    n_tokens, text = _n_tokens(document), without_thinking(_text_of(message.get("content")))
    if text is None:
        return Answer("", n_tokens, Flaw.UNFINISHED_THINKING)
    text = unwrapped(text)
    flaw = None if text.strip() else _flaw_of(message, choice.get("finish_reason"))
    return Answer(well_formed(text), n_tokens, flaw)


def _text_of(content: Any) -> str:
    """A message's content is a text, or parts with texts, of which some may be thoughts."""
    match content:
        case str():
            return content
        case list():
            return "".join(map(_text_of, content))
        case {"type": str(kind)} if _THOUGHT_PART.search(kind):
            return ""
        case {"text": text} | {"value": text}:
            return _text_of(text)
    return ""


def _flaw_of(message: dict[str, Any], finish_reason: Any) -> Flaw:
    """Why a message has no text."""
    if finish_reason == "content_filter":
        return Flaw.FILTERED
    if message.get("refusal"):
        return Flaw.REFUSAL
    has_thought = message.get("content") or any(message.get(name) for name in _THOUGHTS)
    # A model that thinks in secret may use up its tokens before it says anything.
    if has_thought or finish_reason == "length":
        return Flaw.UNFINISHED_THINKING
    return Flaw.EMPTY


def _n_tokens(document: dict[str, Any]) -> int:
    usage = document.get("usage")
    count = usage.get("completion_tokens") if isinstance(usage, dict) else None
    return int(count) if isinstance(count, int | float) and 0 < count < float("inf") else 0
