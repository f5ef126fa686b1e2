"""PT: hidden words, the next item of the batch, and the command over several data sets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import longtail
from model_store.errors import ConfigError
from offline.behaviour.config import PretrainingConfig
from offline.behaviour.masking import TokenMask, WordHead
from offline.behaviour.pretraining import Domain, Pairs, Pretraining
from offline.behaviour.tuning import plan_tuning
from offline.encoding.sentence_encoder import SentenceEncoder
from offline.training.trainer import Trainer
from tests.offline.behaviour.world import (
    ITEM_TEXTS,
    N_THEMES,
    SPECIAL,
    make_encoder,
    make_split,
    write_data,
)
from tests.offline.encoding.tiny_encoder import make_tiny_bert


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_encoder(tmp_path_factory.mktemp("encoder"))


def open_encoder(folder: Path) -> SentenceEncoder:
    return SentenceEncoder(str(folder), folder, "cpu")


def make_task(start: Path, n_domains: int = 1, **choices: Any) -> Pretraining:
    config = PretrainingConfig(**{"batch_size": 16} | choices)
    domains = [Domain(ITEM_TEXTS, make_split(seed)) for seed in range(n_domains)]
    return Pretraining(open_encoder(start), domains, config)


def test_hidden_tokens_are_the_share_that_was_asked_for(start: Path) -> None:
    tokenizer = open_encoder(start).tokenizer
    torch.manual_seed(0)
    ids = torch.randint(len(SPECIAL), len(tokenizer), (200, 50))
    ids[:, 0], ids[:, -1], ids[:100, -2] = 2, 3, 0
    hidden, chosen = TokenMask(tokenizer, 0.2).hide(ids)
    is_special = ids < len(SPECIAL)
    assert not (chosen & is_special).any()
    assert torch.equal(hidden[~chosen], ids[~chosen])
    n = int(chosen.sum())
    assert n == pytest.approx(0.2 * int((~is_special).sum()), rel=0.1)
    masked = (hidden == tokenizer.mask_token_id) & chosen
    kept = (hidden == ids) & chosen
    assert int(masked.sum()) / n == pytest.approx(0.8, abs=0.04)
    assert int(kept.sum()) / n == pytest.approx(0.1, abs=0.04)


def test_a_tokenizer_without_a_mask_is_named(tmp_path: Path) -> None:
    tokenizer = open_encoder(make_tiny_bert(tmp_path)).tokenizer
    with pytest.raises(ConfigError, match="no mask token; pretrain with mlm_weight = 0"):
        TokenMask(tokenizer, 0.15)


def test_the_head_is_tied_to_the_word_embeddings() -> None:
    words = torch.nn.Embedding(11, 8)
    head = WordHead(words)
    assert all(p.shape != words.weight.shape for p in head.parameters())
    states, tokens = torch.randn(5, 8), torch.arange(5)
    head.loss(states, words.weight, tokens).backward()
    assert words.weight.grad is not None
    assert float(head.loss(states[:0], words.weight, tokens[:0])) == 0.0


def test_the_head_begins_by_reading_states_as_words() -> None:
    words = torch.nn.Embedding(11, 64)
    head = WordHead(words)
    right = head.loss(3 * words.weight.detach(), words.weight, torch.arange(11))
    wrong = head.loss(3 * words.weight.detach(), words.weight, torch.arange(11).roll(1))
    assert right < 0.1 * wrong


def test_the_contrast_is_with_the_other_next_items_of_the_batch(start: Path) -> None:
    task = make_task(start, mlm_weight=0.0, dropout=0.0)
    histories = np.array([[1], [2], [3]], np.int32)
    targets = np.array([2, 5, 5], np.int32)
    loss = task.loss(Pairs(0, histories, targets), np.random.default_rng(0))
    encoder = open_encoder(start)
    vectors = encoder.encode(ITEM_TEXTS)
    logits = vectors[[0, 1, 2]] @ vectors[[1, 4]].T / 0.05
    logits[1, 0] = -np.inf  # item 2 is the second history
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    expected = -np.log(shares[[0, 1, 2], [0, 1, 1]]).mean()
    assert loss.item() == pytest.approx(expected, rel=1e-3)


def test_a_batch_is_of_one_domain_and_an_epoch_of_all(start: Path) -> None:
    batches = make_task(start, n_domains=2).batches(np.random.default_rng(0))
    domains = [batch.domain for batch in batches]
    assert set(domains) == {0, 1}
    assert domains != sorted(domains)
    for batch in batches:
        themes = batch.histories[:, 0] % N_THEMES
        assert (themes == batch.targets % N_THEMES).all()


@pytest.mark.parametrize("layers", ["all", (2,)])
def test_the_loss_falls_and_only_the_chosen_layers_change(start: Path, layers: Any) -> None:
    task = make_task(start, learning_rate=2e-3, epochs=3, layers=layers, mlm_weight=0.5)
    before = {name: p.detach().clone() for name, p in task.module.pooled.named_parameters()}
    record = Trainer("pretraining", task, plan_tuning(task._config, patience=9)).run()
    assert record.best_epoch == 3
    changed = {
        name
        for name, p in task.module.pooled.named_parameters()
        if not torch.equal(before[name], p)
    }
    if layers == "all":
        assert any("word_embeddings" in name for name in changed)
        assert record.epochs[3].loss < record.epochs[1].loss - 0.2
    else:
        assert changed
        assert all("layer.2." in name for name in changed)


class _StoppedError(Exception):
    pass


def test_a_resumed_pretraining_equals_one_in_one_go(
    start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(name: str) -> tuple[list[float | None], dict[str, torch.Tensor]]:
        config = PretrainingConfig(batch_size=16, learning_rate=2e-3, epochs=3, layers=(2,))
        # Of different lengths, so that padding depends on the batch.
        texts = [" ".join([text] * (1 + place % 5)) for place, text in enumerate(ITEM_TEXTS)]
        task = Pretraining(open_encoder(start), [Domain(texts, make_split(0))], config)
        record = Trainer("pretraining", task, plan_tuning(config, 3), tmp_path / name).run()
        return [epoch.loss for epoch in record.epochs], task.module.pooled.state_dict()

    losses, whole = run("whole")
    real, calls = Pretraining.validate, []

    def stop(self: Pretraining) -> None:
        calls.append(1)
        if len(calls) == 3:
            raise _StoppedError
        real(self)

    monkeypatch.setattr(Pretraining, "validate", stop)
    with pytest.raises(_StoppedError):
        run("resumed")
    resumed_losses, resumed = run("resumed")
    assert resumed_losses == losses
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_the_command_makes_an_encoder_once(
    start: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = [str(write_data(tmp_path / name, seed)) for seed, name in enumerate("ab")]
    with (Path(data[0]) / "interactions.csv").open("a") as file:
        file.write("u1,,1\n")
    settings = tmp_path / "quick.toml"
    settings.write_text("learning_rate = 2e-3\nbatch_size = 16\n")
    command = ["pretrain-encoder", "--data", data[0], "--data", data[1], "--epochs", "1"]
    command += ["--encoder", str(start), "--settings", str(settings)]
    out = tmp_path / "out"
    assert longtail.main([*command, "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert f"encoder: {out / 'encoder'}" in said
    assert "interactions.csv: 1 row without an item id dropped" in said
    assert open_encoder(out / "encoder").encode(["theme0a"]).shape == (1, 32)
    changed = load_file(out / "encoder" / "model.safetensors")
    assert any(
        not torch.equal(changed[k], v) for k, v in load_file(start / "model.safetensors").items()
    )
    assert longtail.main([*command, "--out", str(out)]) == 0
    assert "encoder: unchanged" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        (None, "No such file"),
        ("epochs = ", "not TOML"),
        ("mlm = 1", "mlm = 1: Extra inputs"),
        ('layers = "top"', "layers = 'top': expected all, strata, upper, or a list of layers"),
    ],
)
def test_settings_that_do_not_fit_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], settings: str | None, line: str
) -> None:
    path = tmp_path / "settings.toml"
    if settings is not None:
        path.write_text(settings)
    command = ["pretrain-encoder", "--data", str(tmp_path), "--out", str(tmp_path / "out")]
    assert longtail.main([*command, "--settings", str(path)]) == 1
    error = capsys.readouterr().err
    assert line in error
    assert len(error.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        (["--data", "nowhere"], "nowhere: there is no such file or folder"),
        (["--epochs", "0"], "epochs = 0: Input should be greater than or equal to 1"),
        (["--encoder", "no/such/folder"], "encoder 'no/such/folder' can't be loaded"),
    ],
)
def test_input_that_the_command_cannot_use_gives_one_line(
    start: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    flags: list[str],
    line: str,
) -> None:
    data = write_data(tmp_path / "a", 0)
    command = ["pretrain-encoder", "--data", str(data), "--out", str(tmp_path / "out")]
    monkeypatch.chdir(tmp_path)
    assert longtail.main([*command, "--encoder", str(start), *flags]) == 1
    error = [row for row in capsys.readouterr().err.splitlines() if row.startswith("longtail")]
    assert len(error) == 1
    assert line in error[0]
