"""What 16 bits lose, and a loss scaler from scratch."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from snippets.training.mixed_precision import LossScaler, stochastic

GRADIENTS = st.lists(
    st.sampled_from([0.5, -3.0, math.inf, math.nan]), min_size=1, max_size=40
)


def quadratic():
    """Two weights of 1, and plain gradient descent at rate 0.1."""
    weight = torch.nn.Parameter(torch.ones(2))
    return weight, torch.optim.SGD([weight], lr=0.1)


@settings(max_examples=60, deadline=None)
@given(GRADIENTS, st.integers(1, 4))
def test_the_scaler_is_pytorchs(gradients, interval):
    """Scales and weights are those of PyTorch's GradScaler, step by step."""
    ours, optimizer = quadratic()
    theirs, other = quadratic()
    scaler = LossScaler(2.0**4, interval)
    options = {"init_scale": 2.0**4, "growth_interval": interval}
    reference = torch.amp.GradScaler("cpu", **options)
    for gradient in gradients:
        optimizer.zero_grad()
        other.zero_grad()
        scaler.scale(ours[0] * gradient).backward()
        reference.scale(theirs[0] * gradient).backward()
        scaler.step(optimizer, [ours])
        reference.step(other)
        reference.update()
        assert scaler.factor == reference.get_scale()
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)


def test_scaling_leaves_the_step_alone():
    """Any scale gives the step of no scaling."""
    for scale in (1.0, 2.0**10, 2.0**16):
        weight, optimizer = quadratic()
        scaler = LossScaler(scale)
        scaler.scale((3 * weight).sum()).backward()
        scaler.step(optimizer, [weight])
        torch.testing.assert_close(weight.data, torch.full((2,), 0.7))


def test_an_overflow_leaves_the_step_out():
    """After an overflow no weight moves, and the scale is halved."""
    weight, optimizer = quadratic()
    scaler = LossScaler(8.0)
    weight.grad = torch.tensor([1.0, math.inf])
    scaler.step(optimizer, [weight])
    assert weight.tolist() == [1, 1]
    assert scaler.factor == 4


def test_a_frozen_weight_has_no_gradient_to_unscale():
    weight, optimizer = quadratic()
    scaler = LossScaler(8.0)
    scaler.scale(weight.sum()).backward()
    frozen = torch.nn.Parameter(torch.ones(1))
    scaler.step(optimizer, [frozen, weight])
    torch.testing.assert_close(weight.data, torch.full((2,), 0.9))


def test_it_starts_at_pytorchs_scale():
    # And waits as long before it doubles.
    scaler, reference = LossScaler(), torch.amp.GradScaler("cpu")
    assert scaler.factor == reference.get_scale()
    assert scaler.growth_interval == reference.get_growth_interval()


def test_fp16_loses_what_scaling_keeps():
    """A gradient of 1e-8 is zero in fp16, and isn't when scaled."""
    x = torch.tensor([1e-8])
    assert x.half().item() == 0
    assert (65_536 * x).half().item() / 65_536 == pytest.approx(1e-8, rel=1e-3)
    assert x.bfloat16().item() == pytest.approx(1e-8, rel=0.01)


@pytest.mark.parametrize("value", [1.001, -0.3, 3e-5, 1000.3])
def test_stochastic_rounding_is_right_on_average(value):
    """Stochastic rounding gives two neighbours, whose mean is the number."""
    torch.manual_seed(0)
    x = torch.full((100_000,), value)
    rounded = stochastic(x)
    assert torch.equal(rounded, rounded.bfloat16().float())
    low, high = rounded.min().item(), rounded.max().item()
    assert low < value < high
    assert set(rounded.tolist()) == {low, high}
    error = 4 * (high - low) / math.sqrt(len(x))
    assert rounded.mean(dtype=torch.float64).item() == pytest.approx(
        value, abs=error
    )


def test_what_bf16_can_hold_is_not_rounded():
    """A number that bf16 can hold stays as it is."""
    x = torch.randn(1000).bfloat16().float()
    assert torch.equal(stochastic(x), x)
    assert torch.equal(stochastic(torch.zeros(3)), torch.zeros(3))


def test_small_updates_of_a_short_weight_are_lost():
    """A thousand updates of a twentieth of a step leave a bf16 weight at 1."""
    weight = torch.tensor(1.0, dtype=torch.bfloat16)
    exact = kept = torch.tensor([1.0])
    torch.manual_seed(0)
    for _ in range(1000):
        weight += 0.0004
        exact = exact + 0.0004
        kept = stochastic(kept + 0.0004)
    assert weight == 1
    assert exact.item() == pytest.approx(1.4, abs=1e-3)
    assert kept.item() == pytest.approx(1.4, abs=0.2)
