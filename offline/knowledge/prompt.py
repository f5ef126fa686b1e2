"""The prompt of SeRALM 4.2 (Figure 3): a versioned template, filled with one item's text.

A prompt file has two parts, `[ask]` and `[answer begins]`. `{item}` stands for the item's text and
`{kind}` for the kind of item ("film", "beauty product"). The second part begins the answer: a small
model that has to continue "This film appeals to people who enjoy" answers the question, where it
would otherwise digress.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from model_store.errors import ConfigError

PROMPTS = Path(__file__).parent / "prompts"
ASK_HEADING = "[ask]\n"
BEGIN_HEADING = "[answer begins]\n"
ITEM = "{item}"
KIND = "{kind}"


@dataclass(frozen=True)
class Prompt:
    """One question to a model.

    Attributes:
        ask: the question, the item's text in it.
        answer_begins: first words of the answer; may be empty.
        item: the item's text alone.
    """

    ask: str
    answer_begins: str
    item: str = ""

    def shortened(self, n_characters: int) -> Prompt:
        """The same question about the beginning of the item's text."""
        item = self.item[:n_characters].rstrip()
        # The last one is the item: a template has its placeholder once.
        before, _, after = self.ask.rpartition(self.item)
        return replace(self, ask=f"{before}{item}{after}", item=item)


@dataclass(frozen=True)
class PromptTemplate:
    """A template: `version` names it, `ask` and `answer_begins` hold the placeholders."""

    version: str
    ask: str
    answer_begins: str

    def fill(self, item_text: str, kind: str) -> Prompt:
        """The prompt for one item: nothing but the template, the kind and the item's own text.

        The item's text goes in last, so that a title like "{kind}" stays a title.
        """
        return Prompt(
            ask=self.ask.replace(KIND, kind).replace(ITEM, item_text),
            answer_begins=self.answer_begins.replace(KIND, kind),
            item=item_text,
        )


def read_template(version_or_path: str) -> PromptTemplate:
    """Read `prompts/<version>.txt`, or the prompt file at a `.txt` path.

    Raises ConfigError if there is no such file, or it lacks a part or the item's placeholder.
    """
    own_file = version_or_path.endswith(".txt")
    path = Path(version_or_path) if own_file else PROMPTS / f"{version_or_path}.txt"
    try:
        text = path.read_text(encoding="utf-8")
    except OSError:
        known = ", ".join(sorted(file.stem for file in PROMPTS.glob("*.txt")))
        raise ConfigError(
            f"prompt {version_or_path!r}: no file {path} (bundled versions: {known})"
        ) from None
    opening, found_begin, answer_begins = text.partition(BEGIN_HEADING)
    before, found_ask, ask = opening.partition(ASK_HEADING)
    if not found_ask or not found_begin or before.strip():
        raise ConfigError(
            f"prompt {path}: expected the parts {ASK_HEADING.strip()} and {BEGIN_HEADING.strip()}"
        )
    if ITEM not in ask:
        raise ConfigError(f"prompt {path}: the part {ASK_HEADING.strip()} has no {ITEM}")
    version = path.stem if own_file else version_or_path
    return PromptTemplate(version, ask.strip(), answer_begins.strip())
