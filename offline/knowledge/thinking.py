"""Cuts what a reasoning model thinks before it answers, in the marks that models put around it."""

from __future__ import annotations

import re

_TAG = r"(?:think|thinking|thoughts?|reasoning|reflection|seed:think|scratchpad)"
_OPEN = (
    rf"<{_TAG}\b[^<>]{{0,80}}>|\[THINK\]|◁think▷|<\|begin_of_thought\|>"
    r"|<\|channel\|>\s*analysis\s*<\|message\|>|\Aanalysis(?=.*assistantfinal)"
)
_CLOSE = (
    rf"</{_TAG}>|\[/THINK\]|◁/think▷|<\|end_of_thought\|>"
    r"|<\|channel\|>\s*final\s*<\|message\|>|assistantfinal"
)
_FLAGS = re.IGNORECASE | re.DOTALL
_CLOSED = re.compile(rf"(?:{_OPEN}).*?(?:{_CLOSE})", _FLAGS)
# A chat template may hold the opening mark, so that the answer has the closing one alone.
_END = re.compile(rf"\A.*(?:{_CLOSE})", _FLAGS)
_BEGINNING = re.compile(_OPEN, _FLAGS)
_SPECIAL = re.compile(r"<\|(?:start|end|return|im_end|eot_id|begin_of_solution|end_of_solution)\|>")


def without_thinking(text: str) -> str | None:
    """A model's answer without its thoughts; None if it ends in them."""
    answer = _END.sub("", _CLOSED.sub("", text))
    if _BEGINNING.search(answer):
        return None
    return text if answer == text else _SPECIAL.sub("", answer).strip()
