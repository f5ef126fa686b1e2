"""The paper's listwise ranking: a language model writes the candidates in order (Llama4Rec 4.5.1).

It needs a decode step for each token of the answer. This is the reference that ranking by labels is
compared with; nothing is served by it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import torch

from model_store.rerank_prompt import LABELS, PromptLayout
from offline.instruction.label_model import LabelModel

_ENTRIES = re.compile(r"[\n;]+")
_NUMBER = re.compile(r"^\W*\d+\s*[.):-]\s*")
_ONLY_LABELS = re.compile(rf"(?:\W*\b[{LABELS}]\b)+\W*")
_ONE_LABEL = re.compile(rf"\b[{LABELS}]\b")
_LABEL_FIRST = re.compile(rf"\W*([{LABELS}])[.):]")


class GenerativeRanker:
    """Ranks by greedy decoding, one prompt after the other."""

    def __init__(self, model: LabelModel, layout: PromptLayout) -> None:
        self._model = model
        self._layout = layout

    def rank(
        self,
        history: Sequence[str],
        candidates: Sequence[str],
        shown: Sequence[int],
        similar: Sequence[str] = (),
    ) -> list[int]:
        """Positions in `candidates`, best first; arguments as of `PromptLayout.listwise`."""
        prompt = self._layout.listwise(history, candidates, shown, similar)
        titles = [self._layout.clean(title) for title in candidates]
        answer = self.write(prompt, max_new_tokens=self.n_tokens(written_ranking(titles)))
        return read_ranking(answer, titles, shown)

    def write(self, prompt: str, max_new_tokens: int, min_new_tokens: int = 0) -> str:
        """What the model writes behind a prompt."""
        model, tokenizer = self._model.model, self._model.encoder.tokenizer
        tokens = torch.tensor(self._model.encoder.encode([prompt]), device=model.device)
        with torch.inference_mode():
            written = model.generate(
                input_ids=tokens,
                attention_mask=torch.ones_like(tokens),
                do_sample=False,
                max_new_tokens=max_new_tokens,
                min_new_tokens=min_new_tokens,
                pad_token_id=tokenizer.eos_token_id,
            )[0, tokens.shape[1] :]
        return str(tokenizer.decode(written, skip_special_tokens=True))

    def n_tokens(self, answer: str) -> int:
        """Length of an answer with the token that ends it."""
        return len(self._model.encoder.encode_ends([answer])[0]) + 1


def written_ranking(titles: Sequence[str]) -> str:
    """The answer that names `titles` in this order."""
    return "".join(f"\n{number}. {title}" for number, title in enumerate(titles, start=1))


def read_ranking(answer: str, candidates: Sequence[str], shown: Sequence[int]) -> list[int]:
    """The order that an answer gives, complete whatever the answer is.

    An entry names a candidate by its title, or by its label. Candidates that are named again count
    once, other entries not at all, and candidates that are not named stand behind the others in the
    recommender's order.

    Args:
        answer: as the model wrote it.
        candidates: titles as they stood in the prompt, in the recommender's order.
        shown: position in `candidates` of the one with each label.

    Returns:
        a permutation of the positions in `candidates`, best first.
    """
    found = [
        position
        for entry in _ENTRIES.split(answer)
        for position in _named(entry, candidates, shown)
    ]
    return list(dict.fromkeys([*found, *range(len(candidates))]))


def _named(entry: str, candidates: Sequence[str], shown: Sequence[int]) -> Iterator[int]:
    """Positions of the candidates that one entry names."""
    text = entry.casefold()
    contained = [n for n, title in enumerate(candidates) if title.casefold() in text]
    if contained:
        # "Alien" stands in "Aliens", too.
        yield max(contained, key=lambda position: len(candidates[position]))
        return
    entry = _NUMBER.sub("", entry)
    if _ONLY_LABELS.fullmatch(entry):
        labels = _ONE_LABEL.findall(entry)
    else:
        labels = _LABEL_FIRST.findall(entry)[:1]
    numbers = (LABELS.index(label) for label in labels)
    yield from (shown[number] for number in numbers if number < len(shown))
