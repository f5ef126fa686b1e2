"""Create the bundled knowledge: `python -m offline.knowledge.bundling`.

Asks the default model about every film of MovieLens-100K (cached answers are used, so a killed run
continues) and packs the answers into bundled/ml-100k.jsonl.gz. Takes half an
hour on two busy CPU cores.
"""

from __future__ import annotations

import argparse
import gzip
import json
import sys
from collections.abc import Iterable
from pathlib import Path

from model_store.errors import LongtailError
from model_store.files import write_atomically
from offline.cache import cache_folder
from offline.data.dataset import read_dataset
from offline.data.movielens_fetch import fetch_movielens_100k
from offline.item_text import item_texts
from offline.knowledge.answers import (
    BUNDLED,
    StoredAnswer,
    answer_key,
    answer_line,
    read_answers,
)
from offline.knowledge.config import KnowledgeConfig
from offline.knowledge.generation import cache_file, generate_knowledge
from offline.knowledge.prompt import read_template

BUNDLED_FILE = BUNDLED / "ml-100k.jsonl.gz"
BUNDLED_CONFIG = KnowledgeConfig(item_kind="film", batch_size=32)


def ship_movielens_100k(path: Path, cache: Path) -> dict[str, object]:
    """Generate what is missing, write `path`, and return the counts of this run as JSON types."""
    dataset = read_dataset(fetch_movielens_100k(cache), None)
    texts = item_texts(dataset.attributes, dataset.interactions.item_ids)
    _, report = generate_knowledge(texts, BUNDLED_CONFIG, cache, regenerate=True)
    answers = read_answers(cache_file(BUNDLED_CONFIG, cache))
    template = read_template(BUNDLED_CONFIG.prompt)
    keys = {answer_key(BUNDLED_CONFIG, template, text) for text in texts}
    pack_answers(path, (answers[key] for key in keys))
    return report.to_json()


def pack_answers(path: Path, answers: Iterable[StoredAnswer]) -> None:
    """Write a bundled file; the same answers give the same bytes, whatever their order."""
    lines = sorted(answer_line(answer) for answer in answers)
    write_atomically(path, gzip.compress("".join(lines).encode(), mtime=0))


def main() -> int:
    """Run from the command line; the last line of stdout is the report as JSON."""
    argparse.ArgumentParser(
        prog="python -m offline.knowledge.bundling", description="Create the bundled knowledge."
    ).parse_args()
    try:
        report = ship_movielens_100k(BUNDLED_FILE, cache_folder())
    except LongtailError as error:
        print(error, file=sys.stderr)
        return 1
    print(json.dumps(report))
    return 0


if __name__ == "__main__":
    sys.exit(main())
