"""Random numbers of torch come from a seed, and only those that were asked for."""

from __future__ import annotations

import pytest
import torch

from offline.training.seeds import seeded


def test_the_numbers_are_those_of_torchs_own_seed_and_the_callers_go_on() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        wanted = torch.rand(5)
        torch.manual_seed(3)
        own = torch.rand(2)
        torch.manual_seed(3)
        first = torch.rand(1)
        with seeded(7):
            assert torch.equal(torch.rand(5), wanted)
        assert torch.equal(torch.cat([first, torch.rand(1)]), own)


def test_no_device_is_seeded_but_those_of_the_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(seed: int) -> None:
        raise AssertionError(f"a device without weights is seeded with {seed}")

    for kind in (torch.cuda, torch.xpu, torch.mtia):
        monkeypatch.setattr(kind, "manual_seed_all", fail)
    module = torch.nn.Linear(2, 2)
    with seeded(7, module), seeded(8):
        pass


@pytest.mark.accelerator
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_the_devices_of_the_weights_are_seeded() -> None:
    module = torch.nn.Linear(2, 2).to("cuda")
    drawn = []
    for _ in range(2):
        with seeded(7, module):
            drawn.append(torch.rand(5, device="cuda"))
    assert torch.equal(*drawn)
