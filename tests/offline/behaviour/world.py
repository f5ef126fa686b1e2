"""A world in which a text tells the next item, and a tiny encoder with a head for words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import BertPreTokenizer

from offline.data.split import Cases, Split
from tests.offline.encoding.tiny_encoder import save_bert

N_ITEMS = 60
N_THEMES = 6
N_USERS = 90
LENGTH = 7
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def item_text(item: int) -> str:
    """An item has one of six themes, named by one of two words, and a word of its own."""
    theme = item % N_THEMES
    return f"theme{theme}{'ab'[item // N_THEMES % 2]} thing{item}"


ITEM_TEXTS = [item_text(item) for item in range(1, N_ITEMS + 1)]


def make_split(seed: int = 0) -> Split:
    """Users stay with a theme: its two words mean the same, which only behaviour shows."""
    rng = np.random.default_rng(seed)
    rows = [
        rng.permutation(np.arange(1, N_ITEMS + 1)[np.arange(1, N_ITEMS + 1) % N_THEMES == theme])
        for theme in rng.integers(N_THEMES, size=N_USERS)
    ]
    items = np.stack([row[: LENGTH + 2] for row in rows]).astype(np.int32)
    offsets = np.arange(N_USERS + 1, dtype=np.int64)

    def cases(at: int) -> Cases:
        users = np.arange(N_USERS, dtype=np.int32)
        return Cases(users, offsets * at, items[:, :at].reshape(-1), items[:, at])

    return Split(offsets * LENGTH, items[:, :LENGTH].reshape(-1), cases(LENGTH), cases(LENGTH + 1))


def make_encoder(folder: Path, layers: int = 3, seed: int = 1) -> Path:
    """A BERT with random weights whose tokenizer knows the world's words and has a mask."""
    words = [*SPECIAL, *dict.fromkeys(" ".join(ITEM_TEXTS).split())]
    tokenizer = Tokenizer(WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = BertPreTokenizer()
    return save_bert(
        folder, tokenizer, seed, hidden_size=32, intermediate_size=64, num_hidden_layers=layers
    )


def write_data(folder: Path, seed: int) -> Path:
    """A data set of the world, in a folder that `longtail build` reads."""
    split = make_split(seed)
    rows = ["user_id,item_id,timestamp"]
    for user in range(len(split.train_offsets) - 1):
        rows += [f"u{user},i{item},{at}" for at, item in enumerate(split.train_history(user))]
    folder.mkdir()
    (folder / "interactions.csv").write_text("\n".join(rows) + "\n")
    items = [f"i{item},{item_text(item)}" for item in range(1, len(ITEM_TEXTS) + 1)]
    (folder / "items.csv").write_text("\n".join(["item_id,title", *items]) + "\n")
    return folder
