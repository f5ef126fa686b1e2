"""A word tokenizer made on the spot, shared by the tiny language model and the tiny encoder."""

from __future__ import annotations

from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import BertPreTokenizer

SPECIAL = "[PAD] [UNK] [CLS] [SEP]"
WORDS = (
    "a about action and animation appeals children comedy drama enjoy film films for friends fun",
    "genres good is item kind likes of people person quiet romance story that the this title to",
    "toy war what who why with . , ? :",
)


def make_word_tokenizer() -> Tokenizer:
    words = " ".join([SPECIAL, *WORDS]).split()
    tokenizer = Tokenizer(WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = BertPreTokenizer()
    return tokenizer
