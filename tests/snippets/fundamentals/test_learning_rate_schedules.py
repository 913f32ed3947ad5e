"""Learning-rate schedules: warm-up, cosine, and what they gain."""

import math

import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn.functional import cross_entropy

from snippets.fundamentals.learning_rate_schedules import train, warmup_cosine


def adam(learning_rate):
    return lambda p: torch.optim.Adam(p, lr=learning_rate)


@pytest.fixture(scope="module")
def digits():
    """A hundred digits, and their labels."""
    data = load_digits()
    X = torch.tensor(data.data[:100]).float() / 16
    return X, torch.tensor(data.target[:100])


def test_schedule_is_the_one_worked_by_hand():
    """Up in quarters, the peak, half of it half-way down, near 0 at last."""
    factors = [warmup_cosine(step, 12, 4) for step in range(12)]
    assert factors[:5] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert factors[8] == pytest.approx(0.5)
    assert factors[11] == pytest.approx((1 - math.cos(math.pi / 8)) / 2)
    assert warmup_cosine(0, 12) == 1.0
    assert warmup_cosine(3, 12) == pytest.approx((1 + 0.5**0.5) / 2)


def test_the_cosine_is_torchs():
    """Without warm-up the factors are those of CosineAnnealingLR."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 50)
    for step in range(50):
        assert warmup_cosine(step, 50) == pytest.approx(
            theirs.get_last_lr()[0], rel=1e-9
        )
        optimizer.step()
        theirs.step()


@pytest.mark.parametrize("scheduled", [False, True])
def test_training_is_a_plain_loop_of_torch(digits, scheduled):
    """Three epochs, last batches of 4: the weights of a loop by LambdaLR."""
    X, labels = digits
    schedule = (lambda a, b: warmup_cosine(a, b, 3)) if scheduled else None
    ours = train(X, labels, adam(0.02), schedule, seed=5, epochs=3)
    torch.manual_seed(5)
    model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    scheduler = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda s: warmup_cosine(s, 12, 3) if scheduled else 1.0
    )
    n_steps = 0
    for _ in range(3):
        for batch in torch.randperm(100).split(32):
            loss = cross_entropy(model(X[batch]), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if n_steps < 11:
                scheduler.step()
            n_steps += 1
    assert n_steps == 12
    for p, q in zip(ours.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(p, q)


def test_a_schedule_is_asked_once_a_step(digits):
    """A hundred digits in one epoch: steps 0 to 3 of 4."""
    calls = []

    def schedule(step, n_steps):
        calls.append((step, n_steps))
        return 1.0

    train(*digits, adam(0.1), schedule, epochs=1)
    assert calls == [(0, 4), (1, 4), (2, 4), (3, 4)]


def test_a_factor_of_zero_trains_nothing(digits):
    """The learning rate is the peak times the factor, so nothing moves."""
    still = train(*digits, adam(0.1), lambda step, n_steps: 0.0, seed=3)
    torch.manual_seed(3)
    fresh = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    for p, q in zip(still.parameters(), fresh.parameters(), strict=True):
        assert torch.equal(p, q)


def test_by_default_it_learns_in_five_epochs(digits):
    """Twenty steps of Adam at least halve the loss of the first."""
    losses, seen = [], []

    def schedule(step, n_steps):
        seen.append(n_steps)
        return 1.0

    model = train(*digits, adam(0.02), schedule)
    torch.manual_seed(0)
    fresh = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    for network in (fresh, model):
        with torch.no_grad():
            losses.append(cross_entropy(network(digits[0]), digits[1]).item())
    assert seen == [20] * 20
    assert losses[1] < losses[0] / 2
