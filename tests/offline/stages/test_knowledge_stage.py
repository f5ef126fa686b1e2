from __future__ import annotations

from pathlib import Path

from offline.knowledge.config import KnowledgeConfig
from offline.stages.data import DataArtifact
from offline.stages.knowledge import KnowledgeStage


def test_a_prompt_file_of_ones_own_counts_by_its_content(tmp_path: Path) -> None:
    prompt = tmp_path / "mine.txt"
    data = DataArtifact(tmp_path / "data", "abc", {})

    def fingerprint(text: str) -> str:
        prompt.write_text(text)
        return KnowledgeStage(data, KnowledgeConfig(prompt=str(prompt))).fingerprint()

    first = fingerprint("[ask]\nWhat is {item}?\n[answer begins]\n")
    assert fingerprint("[ask]\nWho likes {item}?\n[answer begins]\n") != first
    assert fingerprint("[ask]\nWhat is {item}?\n[answer begins]\n") == first
