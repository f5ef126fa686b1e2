"""Which evidence tells whether a new model is not worse than the running one.

People mostly click what they are shown, and the running model chose that: a comparison on what was
clicked favours it. The best evidence is answers that were drawn at random, see `drawn_answers`. The
next are events that follow no answer: a search, a link. All events together are more, and favour
the running model: that a new one passes there is proof, and that it fails there is none. So where
both can be told one of them suffices, each tested at half of the error that is allowed
(Bonferroni).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from offline.refresh.choices import Choices
from offline.refresh.drawn_answers import DrawnAnswers
from offline.refresh.non_inferiority import MIN_USERS, Judgement, judge
from offline.stages.comparison import Pairs

Name = Literal["drawn", "unprompted", "all"]
NAMES: tuple[Name, ...] = ("drawn", "unprompted", "all")
Document = dict[str, Any]


@dataclass(frozen=True)
class Evidence:
    """The evidence, and what follows from it.

    Attributes:
        name: what decided: drawn answers; events that follow no answer, together with all; or all
            events alone.
        why: it did.
        publish: whether the new model is published.
        reason: in one line.
        judgements: all that were made on events: `all`, `known` and, where some events follow
            answers and some don't, `unprompted` and `unprompted_known`.
        drawn: what drawn answers say; None: there were none.
    """

    name: Name
    why: str
    publish: bool
    reason: str
    judgements: dict[str, Judgement]
    drawn: DrawnAnswers | None

    def to_document(self) -> Document:
        """In JSON's types."""
        return {
            "evidence": self.name,
            "why": self.why,
            "reason": self.reason,
            **{name: one.to_document() for name, one in self.judgements.items()},
            **({} if self.drawn is None else {"drawn": self.drawn.to_document()}),
        }


def of_any_release(comparison: Document) -> Document:
    """A comparison as `Evidence.to_document` has it, also where an earlier release made it."""
    if "evidence" in comparison:
        return comparison
    found = comparison["all"]
    return {
        "evidence": "all",
        "why": "an earlier release compared both on all events",
        "reason": f"{found['word']}: {found['reason']}",
        "prompted_targets": 0,
        **comparison,
    }


def weigh(pairs: Pairs, drawn: DrawnAnswers | None, choices: Choices) -> Evidence:
    """Judge by the best evidence that there is enough of.

    What is chosen depends on how much there is of it, and not on what it says.

    Args:
        pairs: figures of events by both models.
        drawn: what drawn answers say; None: there were none.
        choices: the margin and the confidence.
    """
    n_prompted, unprompted = int(pairs.is_prompted.sum()), pairs.unprompted()
    n_users = len(set(unprompted.users.tolist()))
    if drawn is not None and drawn.judgement is not None:
        found = drawn.judgement
        judgements = _judgements({"": pairs}, choices, choices.confidence)
        why = (
            f"{drawn.n_answers:,} answers were drawn at random, with known probabilities, so that "
            "what people could click is corrected for"
        )
        return Evidence("drawn", why, found.passes, _line(found), judgements, drawn)
    no_draws = f"drawn answers can't tell ({drawn.why_not})" if drawn else "no answers were drawn"
    if n_prompted and n_users >= MIN_USERS:
        half = 1 - (1 - choices.confidence) / 2
        judgements = _judgements({"": pairs, "unprompted": unprompted}, choices, half)
        passes = {part: _decide(judgements, part) for part in ("unprompted", "")}
        part = next((part for part, (publish, _) in passes.items() if publish), "unprompted")
        publish, reason = passes[part]
        which = "that follow no answer" if part else "of all kinds"
        why = (
            f"{no_draws}; {n_prompted:,} of {len(pairs.users):,} events follow answers, which "
            "favours the running version: all events, and those that follow none, are tested at "
            "half of the error each, and one of both suffices"
        )
        return Evidence("unprompted", why, publish, f"{reason}; events {which}", judgements, drawn)
    judgements = _judgements({"": pairs}, choices, choices.confidence)
    publish, reason = _decide(judgements, "")
    few = (
        f"{n_users} users have events that follow no answer, and {MIN_USERS} are needed"
        if n_prompted
        else "no event names an answer that it follows"
    )
    why = f"{no_draws}; {few}: all events count, which favours the running version if it chose them"
    return Evidence("all", why, publish, reason, judgements, drawn)


def _judgements(
    parts: dict[str, Pairs], choices: Choices, confidence: float
) -> dict[str, Judgement]:
    """The test on some events, and on those alone whose items the running model knows."""
    found = {}
    for part, pairs in parts.items():
        for known, some in (("", pairs), ("known", pairs.known())):
            found[_name(part, known)] = judge(
                some.users,
                some.candidate,
                some.running,
                margin=choices.margin,
                confidence=confidence,
            )
    return found


def _name(part: str, known: str) -> str:
    return "_".join(one for one in (part, known) if one) or "all"


def _decide(judgements: dict[str, Judgement], part: str) -> tuple[bool, str]:
    """Publish what is shown not to be worse, unless it is shown to be on known items.

    On all items since people chose them all; a running model can't recommend what it doesn't know,
    and new items must not hide that the others are ranked worse.
    """
    everything, known = judgements[_name(part, "")], judgements[_name(part, "known")]
    if everything.passes and known.word == "worse":
        return False, f"worse on items that the running model knows: {known.reason}"
    return everything.passes, _line(everything)


def _line(judgement: Judgement) -> str:
    return f"{judgement.word}: {judgement.reason}"
