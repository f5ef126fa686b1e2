"""Ctrl-C while an endpoint is asked: over within moments, and nothing that was answered is lost."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from offline.knowledge.answers import read_answers
from offline.knowledge.config import KnowledgeConfig
from offline.knowledge.generation import cache_file, generate_knowledge
from tests.offline.knowledge.chat_endpoint import Endpoint, Reply
from tests.offline.knowledge.stand_ins import texts_of


@pytest.mark.parametrize("others", ["dawdle", "are waited for"])
def test_ctrl_c_ends_a_run_at_once_and_keeps_its_answers(
    endpoint: Endpoint, tmp_path: Path, others: str
) -> None:
    config = KnowledgeConfig(model="big-llm", base_url=endpoint.url, concurrency=3)
    log = cache_file(config, tmp_path)
    over = threading.Event()
    interrupted: list[float] = []

    def answers(request: dict[str, Any]) -> Reply | None:
        question = request["messages"][0]["content"]
        if "film 5\n" in question and not over.is_set():
            # Until all that are answered are on the disk; a request is there before its answer is.
            while len(read_answers(log)) < 10:
                time.sleep(0.005)
            interrupted.append(time.monotonic())
            os.kill(os.getpid(), signal.SIGINT)
            over.wait(20)
        if "film 7\n" in question and not over.is_set():
            if others == "are waited for":
                return 503, b""
            over.wait(20)
        return None

    endpoint.answers = answers
    texts = texts_of(*[f"film {number}" for number in range(12)])
    with pytest.raises(KeyboardInterrupt):
        generate_knowledge(texts, config, tmp_path)
    assert time.monotonic() - interrupted[0] < 2
    over.set()
    _, report = generate_knowledge(texts, config, tmp_path)
    assert (report.from_cache, report.generated) == (10, 2)
