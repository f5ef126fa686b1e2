from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from offline.recommender.config import TrainingConfig
from offline.recommender.criterion import Criterion
from offline.recommender.losses import (
    binary_cross_entropy,
    catalogue_cross_entropy,
    gbce_exponent,
    generalised_binary_cross_entropy,
    sampled_cross_entropy,
)
from offline.recommender.negatives import NegativeSampler


@pytest.fixture
def positions() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    users = torch.randn(1500, 8, requires_grad=True)  # more than a chunk, and no multiple of one
    table = torch.randn(40, 8, requires_grad=True)
    return users, table, torch.randint(0, 40, (1500,))


@pytest.mark.parametrize("label_smoothing", [0.0, 0.2])
def test_the_chunked_loss_is_cross_entropy(positions, label_smoothing: float) -> None:
    users, table, targets = positions
    wanted = F.cross_entropy(users @ table.T, targets, label_smoothing=label_smoothing)
    wanted_gradients = torch.autograd.grad(3 * wanted, (users, table))
    loss = catalogue_cross_entropy(users, table, targets, label_smoothing)
    gradients = torch.autograd.grad(3 * loss, (users, table))
    torch.testing.assert_close(loss, wanted)
    torch.testing.assert_close(gradients, wanted_gradients)


def test_large_logits_do_not_overflow() -> None:
    users, table = torch.tensor([[1000.0]]), torch.tensor([[1.0], [-1.0]])
    assert catalogue_cross_entropy(users, table, torch.tensor([0])).item() == 0.0
    assert catalogue_cross_entropy(users, table, torch.tensor([1])).item() == 2000.0


def test_the_sampled_loss_estimates_the_whole_one(positions) -> None:
    users, table, targets = positions
    users = 0.1 * users.detach()  # of a wide spread of scores a sample's log says too little
    sampler = NegativeSampler(np.arange(1, 41) ** 2, 25)
    rng = np.random.default_rng(0)
    losses = []
    for _ in range(300):
        rows, logs = (torch.from_numpy(drawn) for drawn in sampler.draw(rng))
        losses.append(sampled_cross_entropy(users, table, targets, rows, logs).item())
    whole = F.cross_entropy(users @ table.T, targets).item()
    assert np.mean(losses) == pytest.approx(whole, abs=0.02)
    uncorrected = sampled_cross_entropy(users, table, targets, rows, torch.zeros(25)).item()
    assert abs(uncorrected - whole) > 0.2


def test_the_target_is_no_negative_of_its_own() -> None:
    users, table = torch.ones(1, 1), torch.tensor([[2.0], [1.0]])
    itself = torch.tensor([0])
    loss = sampled_cross_entropy(users, table, itself, itself, torch.zeros(1))
    assert loss.item() == 0.0


def test_the_sampled_loss_is_cross_entropy_over_what_was_drawn(positions) -> None:
    users, table, targets = positions
    drawn, logs = torch.tensor([3, 9, 17]), torch.tensor([-0.5, -2.0, 0.0])
    logits = users @ table[drawn].T - logs
    logits = logits.masked_fill(drawn == targets[:, None], -torch.inf)
    own = (users * table[targets]).sum(dim=1, keepdim=True)
    first = torch.zeros_like(targets)
    wanted = F.cross_entropy(torch.cat([own, logits], dim=1), first)
    wanted_gradients = torch.autograd.grad(3 * wanted, (users, table))
    loss = sampled_cross_entropy(users, table, targets, drawn, logs)
    torch.testing.assert_close(loss, wanted)
    torch.testing.assert_close(torch.autograd.grad(3 * loss, (users, table)), wanted_gradients)


def test_gbce_is_its_formula(positions) -> None:
    users, table = positions[0][:5], positions[1]
    negatives = torch.tensor([0, 7, 20, 39])
    targets = torch.tensor([7, 1, 2, 3, 4])
    share = 4 / 39
    exponent = share * (0.75 * (1 - 1 / share) + 1 / share)
    assert gbce_exponent(4, 40, 0.75) == pytest.approx(exponent)
    wanted = 0.0
    for user, target in zip(users, targets.tolist(), strict=True):
        wanted -= exponent * torch.sigmoid(user @ table[target]).log() / 5 / 5
        for other in set(negatives.tolist()) - {target}:
            wanted -= (1 - torch.sigmoid(user @ table[other])).log() / 5 / 5
    loss = generalised_binary_cross_entropy(users, table, targets, negatives, exponent)
    torch.testing.assert_close(loss, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("calibration", "exponent"), [(0.0, 1.0), (1.0, 4 / 39)])
def test_the_calibration_goes_from_bce_to_the_sampled_share(
    calibration: float, exponent: float
) -> None:
    assert gbce_exponent(4, 40, calibration) == pytest.approx(exponent)


def test_bce_is_its_formula(positions) -> None:
    users, table, targets = positions
    negatives = (targets + 1) % 40
    own, other = (torch.sigmoid((users * table[rows]).sum(1)) for rows in (targets, negatives))
    wanted = -(own.log() + (1 - other).log()).mean()
    loss = binary_cross_entropy(users, table, targets, negatives)
    torch.testing.assert_close(loss, wanted, rtol=1e-4, atol=1e-5)


def test_a_negative_of_bce_is_any_other_trained_item() -> None:
    counts = np.array([0, 3, 0, 1, 2, 5])
    criterion = Criterion(counts, TrainingConfig(loss="bce"))
    trained = (1, 3, 4, 5)
    wanted = np.repeat(trained, 500)
    drawn = criterion._one_each(wanted, np.random.default_rng(0))
    assert {(int(a), int(b)) for a, b in zip(wanted, drawn, strict=True)} == {
        (a, b) for a in trained for b in trained if a != b
    }


def test_items_that_nobody_chose_are_in_no_softmax() -> None:
    torch.manual_seed(0)
    criterion = Criterion(np.array([0, 3, 0, 1, 2, 5]), TrainingConfig())
    users, table = torch.randn(4, 8), torch.randn(6, 8)
    targets = np.array([1, 3, 5, 5])
    wanted = F.cross_entropy(users @ table[[1, 3, 4, 5]].T, torch.tensor([0, 1, 3, 3]))
    for _ in range(2):  # what is kept for the next step is the same
        loss = criterion.loss(users, table, targets, np.random.default_rng(0))
        torch.testing.assert_close(loss, wanted)


class _Copies(TorchDispatchMode):
    """Notes the size of every tensor that goes to another device."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is torch.ops.aten._to_copy.default:
            self.sizes.append(args[0].numel())
        return func(*args, **kwargs or {})


def test_the_whole_catalogue_is_in_the_softmax_of_a_small_one_alone() -> None:
    rng, counts = np.random.default_rng(0), np.arange(1, 41)
    users, table = torch.randn(6, 4), torch.randn(40, 4)
    targets = np.array([1, 5, 9, 30, 38, 39])

    def loss(**choices: int) -> float:
        config = TrainingConfig(**choices)  # type: ignore[arg-type]
        return float(Criterion(counts, config).loss(users, table, targets, rng))

    whole, sampled = loss(), {"sampled_negatives": 8}
    assert loss(whole_catalogue_up_to=40, **sampled) == whole
    assert {loss(whole_catalogue_up_to=39, **sampled) for _ in range(9)} != {whole}


def test_a_step_takes_nothing_to_the_device_but_its_targets() -> None:
    criterion = Criterion(np.arange(50), TrainingConfig())
    users, table = torch.empty(3, 8, device="meta"), torch.empty(50, 8, device="meta")
    steps = []
    for _ in range(2):
        with _Copies() as copies:
            criterion.loss(users, table, np.array([1, 2, 3]), np.random.default_rng(0))
        steps.append(sorted(copies.sizes))
    assert steps == [[3, 49, 50], [3]]


@pytest.mark.parametrize("loss", ["softmax", "smoothed", "sampled", "gbce", "bce"])
def test_a_weight_of_n_is_n_copies(loss: str) -> None:
    """Of losses and gradients; a mean is over the positions, whatever their weights."""
    torch.manual_seed(0)
    choices: dict[str, TrainingConfig] = {
        "softmax": TrainingConfig(),
        "smoothed": TrainingConfig(label_smoothing=0.2),
        "sampled": TrainingConfig(sampled_negatives=8),
        "gbce": TrainingConfig(loss="gbce", sampled_negatives=8),
        "bce": TrainingConfig(loss="bce"),
    }
    criterion = Criterion(np.arange(41), choices[loss])
    n = 700  # more than a chunk
    users = torch.randn(n, 8, requires_grad=True)
    table = torch.randn(41, 8, requires_grad=True)
    rng = np.random.default_rng(0)
    targets, weights = rng.integers(1, 41, n), rng.integers(0, 4, n)
    if loss == "bce":  # each target has a negative of its own
        others = torch.from_numpy(targets % 40 + 1)
        wanted_of = torch.from_numpy(targets)
        copies = torch.from_numpy(np.repeat(np.arange(n), weights))
        weighted = binary_cross_entropy(
            users, table, wanted_of, others, torch.from_numpy(weights).float()
        )
        copied = binary_cross_entropy(users[copies], table, wanted_of[copies], others[copies])
    else:
        copies = torch.from_numpy(np.repeat(np.arange(n), weights))
        factors = weights.astype(np.float32)
        weighted = criterion.loss(users, table, targets, np.random.default_rng(1), factors)
        copied = criterion.loss(
            users[copies], table, targets[copies.numpy()], np.random.default_rng(1)
        )
    share = len(copies) / n
    torch.testing.assert_close(weighted, copied * share)
    torch.testing.assert_close(
        torch.autograd.grad(weighted, (users, table)),
        torch.autograd.grad(copied * share, (users, table)),
    )


def test_weights_of_one_are_none() -> None:
    torch.manual_seed(0)
    criterion = Criterion(np.arange(41), TrainingConfig())
    users, table, targets = torch.randn(600, 8), torch.randn(41, 8), np.arange(600) % 40 + 1
    ones = np.ones(600, np.float32)
    rng = np.random.default_rng(0)
    assert criterion.loss(users, table, targets, rng, ones) == criterion.loss(
        users, table, targets, rng
    )
