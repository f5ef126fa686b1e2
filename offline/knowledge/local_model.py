"""A language model in this process, through transformers: a Hugging Face id, a folder or a GGUF."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from transformers import LogitsProcessorList, RepetitionPenaltyLogitsProcessor

from offline.knowledge.causal_model import load_causal_model
from offline.knowledge.flaws import Flaw
from offline.knowledge.language_model import Answer, Sampling
from offline.knowledge.prompt import Prompt
from offline.knowledge.thinking import without_thinking


class LocalModel:
    """A causal language model that answers batches of prompts."""

    def __init__(self, name: str, model: Any, tokenizer: Any, batch_size: int) -> None:
        self._name = name
        self._model = model.eval()
        self._tokenizer = tokenizer
        self._batch_size = batch_size
        # Answers start at the same column only if the padding is in front.
        tokenizer.padding_side = "left"
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token

    @property
    def name(self) -> str:
        """The name it was opened by."""
        return self._name

    @property
    def prompts_at_a_time(self) -> int:
        """The batch size."""
        return self._batch_size

    def render(self, prompt: Prompt) -> str:
        """The model's input: its chat form where it has one, and the answer's beginning."""
        if self._tokenizer.chat_template is None:
            return f"{prompt.ask}\n\n{prompt.answer_begins}"
        turn = [{"role": "user", "content": prompt.ask}]
        chat: str = self._tokenizer.apply_chat_template(
            turn, tokenize=False, add_generation_prompt=True
        )
        return chat + prompt.answer_begins

    def as_they_come(
        self, prompts: Sequence[Prompt], sampling: Sampling
    ) -> Iterator[tuple[int, Answer]]:
        """See `LanguageModel`; one batch's come together."""
        return enumerate(self.generate(prompts, sampling))

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[Answer]:
        """Answer `prompts`, in their order, as one batch."""
        fitting = [self._fitted(prompt, sampling.max_new_tokens) for prompt in prompts]
        encoded = self._tokenizer(
            [self.render(prompt) for prompt in fitting],
            return_tensors="pt",
            padding=True,
            add_special_tokens=self._tokenizer.chat_template is None,
        ).to(self._model.device)
        n_prompt = encoded["input_ids"].shape[1]
        torch.manual_seed(sampling.seed)
        with torch.inference_mode():
            output = self._model.generate(
                input_ids=encoded["input_ids"],
                attention_mask=encoded["attention_mask"],
                max_new_tokens=sampling.max_new_tokens,
                pad_token_id=self._tokenizer.pad_token_id,
                logits_processor=_penalty(sampling, n_prompt),
                **_choice(sampling),
            )
        ends = {self._tokenizer.pad_token_id, self._tokenizer.eos_token_id}
        return [
            replace(self._read(row, prompt, ends), was_cut=fitted is not prompt)
            for row, prompt, fitted in zip(
                output[:, n_prompt:].tolist(), prompts, fitting, strict=True
            )
        ]

    def _fitted(self, prompt: Prompt, n_answer: int) -> Prompt:
        """The prompt with as much of the item's text as the model has positions for."""
        n_positions = getattr(self._model.config.get_text_config(), "max_position_embeddings", None)
        if n_positions is None:
            return prompt
        limit = max(n_positions - n_answer, 1)
        # No token is shorter than a byte.
        while prompt.item and len((text := self.render(prompt)).encode()) > limit:
            n_tokens = len(self._tokenizer(text, verbose=False)["input_ids"])
            if n_tokens <= limit:
                break
            prompt = prompt.shortened(int(0.95 * limit / n_tokens * len(prompt.item)))
        return prompt

    def _read(self, tokens: list[int], prompt: Prompt, ends: set[int]) -> Answer:
        n_tokens = next((i for i, token in enumerate(tokens) if token in ends), len(tokens))
        written = self._tokenizer.decode(tokens[:n_tokens], skip_special_tokens=True)
        answer = without_thinking(written)
        if answer is None:
            return Answer("", n_tokens, Flaw.UNFINISHED_THINKING)
        return Answer(prompt.answer_begins + answer, n_tokens)


def open_local_model(name: str, cache: Path, batch_size: int, device: str) -> LocalModel:
    """Load a model by short name, Hugging Face id, folder or .gguf file.

    Raises ConfigError if it can't be found or read.
    """
    model, tokenizer = load_causal_model(name, cache, device)
    return LocalModel(name, model, tokenizer, batch_size)


def _penalty(sampling: Sampling, n_prompt: int) -> LogitsProcessorList:
    """Penalise repetition of the answer, not of the prompt: genres should be repeated."""
    penalty = RepetitionPenaltyLogitsProcessor(
        sampling.repetition_penalty, prompt_ignore_length=n_prompt
    )
    return LogitsProcessorList([penalty] if sampling.repetition_penalty > 1 else [])


def _choice(sampling: Sampling) -> dict[str, Any]:
    if sampling.temperature == 0:
        return {"do_sample": False}
    return {"do_sample": True, "temperature": sampling.temperature, "top_p": 0.95, "top_k": 0}
