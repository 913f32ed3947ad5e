"""RMSProp, Adam and AdamW: a step size for each weight."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from snippets.fundamentals.momentum import momentum, sgd, walk
from snippets.fundamentals.optimizers import (
    adam,
    adamw,
    rmsprop,
    rotated,
    uncorrected_ratio,
    with_decay,
    with_l2,
)
from tests.snippets.fundamentals.test_momentum import (
    assert_same_path,
    slope,
    torch_path,
)

RULES = [rmsprop, adam, adamw]
BETAS = st.floats(0.5, 0.999)


@settings(max_examples=8, deadline=None)
@given(st.floats(1e-3, 1.0), BETAS, st.floats(1e-8, 1.0))
def test_rmsprop_takes_the_steps_of_torch(rate, beta, eps):
    """A hundred steps, whatever the learning rate, decay and epsilon."""
    options = {"learning_rate": rate, "beta": beta, "eps": eps}
    ours = walk(slope, np.zeros(11), rmsprop, 100, **options)
    theirs = {"lr": rate, "alpha": beta, "eps": eps}
    assert_same_path(ours, torch_path(torch.optim.RMSprop, ours, **theirs))


@settings(max_examples=8, deadline=None)
@given(
    st.floats(1e-3, 1.0),
    st.floats(0.0, 0.95),
    BETAS,
    st.floats(1e-8, 1.0),
    st.floats(0.0, 0.5),
)
def test_adam_takes_the_steps_of_torch(rate, beta1, beta2, eps, decay):
    """A hundred steps of Adam, with L2 in the gradient, and of AdamW."""
    options = {"beta1": beta1, "beta2": beta2, "eps": eps}
    theirs = {"lr": rate, "betas": (beta1, beta2), "eps": eps}
    for rule, optimizer in (
        (with_l2(adam, decay), torch.optim.Adam),
        (with_decay(adam, decay), torch.optim.AdamW),
    ):
        ours = walk(
            slope, np.zeros(11), rule, 100, learning_rate=rate, **options
        )
        assert_same_path(
            ours, torch_path(optimizer, ours, weight_decay=decay, **theirs)
        )


@pytest.mark.parametrize("shrink", [1.0, 1e-8])
def test_called_with_a_learning_rate_only_they_are_torchs(shrink):
    """Also where gradients are so small that epsilon counts."""

    def gradient(w):
        return shrink * slope(w)

    for rule, optimizer in (
        (rmsprop, torch.optim.RMSprop),
        (adam, torch.optim.Adam),
        (adamw, torch.optim.AdamW),
    ):
        ours = walk(gradient, np.zeros(11), rule, 20, learning_rate=0.01)
        w = torch.zeros(11, dtype=torch.float64, requires_grad=True)
        theirs = optimizer([w], lr=0.01)
        for point in ours[:-1]:
            w.data = torch.tensor(point)
            w.grad = torch.tensor(gradient(point))
            theirs.step()
        np.testing.assert_allclose(ours[-1], w.detach().numpy(), rtol=1e-9)


@settings(max_examples=20, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.floats(0.0, 0.99),
    st.floats(0.0, 0.9999),
    st.integers(1, 40),
)
def test_without_correction_each_step_is_off_by_the_factor(
    seed, beta1, beta2, steps
):
    """For any gradients: (1 - beta1^t) / sqrt(1 - beta2^t)."""
    rng, states, w = np.random.default_rng(seed), [{}, {}], np.zeros(4)
    for t in range(1, steps + 1):
        g = rng.choice([-1, 1], 4) * rng.uniform(0.5, 2, 4)
        good, bad = (
            adam(w, g, s, 1.0, beta1, beta2, eps=1e-300, correct=correct)
            for s, correct in zip(states, (True, False), strict=True)
        )
        factor = (1 - beta1**t) / (1 - beta2**t) ** 0.5
        np.testing.assert_allclose(bad, factor * good, rtol=1e-9, atol=1e-12)
        assert uncorrected_ratio(t, beta1, beta2) == pytest.approx(factor)


def test_adam_without_correction_starts_three_times_too_large():
    """0.1 / sqrt(0.001) = 3.16 times the rate, and 6.57 at step 12."""
    assert uncorrected_ratio(1) == pytest.approx(0.1 / 0.001**0.5)
    ratios = [uncorrected_ratio(t) for t in range(1, 101)]
    assert np.argmax(ratios) + 1 == 12
    assert max(ratios) == pytest.approx(6.57, abs=0.01)
    first = adam(np.zeros(11), slope(np.zeros(11)), {}, 0.01, correct=False)
    np.testing.assert_allclose(np.abs(first), 0.01 * 10**0.5, rtol=1e-6)


def test_first_steps_are_the_learning_rate_whatever_the_gradient():
    """Adam's is the rate in each weight, RMSProp's ten times that."""
    g = slope(np.zeros(11))
    for rule, factor in ((adam, 1), (rmsprop, 10)):
        first = rule(np.zeros(11), g, {}, 0.01)
        np.testing.assert_allclose(first, -0.01 * factor * np.sign(g), 1e-6)


def test_adam_does_not_see_the_scale_of_the_loss_until_epsilon():
    """Gradients times 1e-3: the same path; times 1e-12: hardly a step."""

    def end(scale):
        return walk(
            lambda w: scale * slope(w),
            np.zeros(11),
            adam,
            50,
            learning_rate=1.0,
        )[-1]

    np.testing.assert_allclose(end(1e-3), end(1.0), rtol=1e-4, atol=1e-4)
    assert np.abs(end(1e-12)).max() < 0.05 * np.abs(end(1.0)).max()


@settings(max_examples=10, deadline=None)
@given(st.floats(1e-4, 0.2), st.floats(0.0, 1.0))
def test_the_two_decays_are_one_under_sgd(rate, decay):
    """The same path, for any learning rate and decay."""
    ends = [
        walk(slope, np.ones(11), kind(sgd, decay), 100, learning_rate=rate)
        for kind in (with_l2, with_decay)
    ]
    assert_same_path(*ends)


@pytest.mark.parametrize("rule", [momentum, adam])
def test_the_two_decays_differ_under_state(rule):
    """Under momentum and Adam they end more than a tenth apart."""
    ends = [
        walk(slope, np.ones(11), kind(rule, 0.1), 100, learning_rate=0.1)[-1]
        for kind in (with_l2, with_decay)
    ]
    assert np.linalg.norm(ends[0] - ends[1]) > 0.1 * np.linalg.norm(ends[0])


def test_decoupled_decay_shrinks_an_unused_weight_by_rate_times_decay():
    """Without a gradient AdamW leaves 1 - learning rate times decay.

    With L2 the weight moves by the whole learning rate, whatever the decay.
    """
    w = adamw(np.array([2.0]), np.zeros(1), {}, 0.1)
    assert w == pytest.approx([2.0 * (1 - 0.1 * 0.01)], rel=1e-12)
    for decay in (1e-5, 1e-2):
        w = with_l2(adam, decay)(np.array([2.0]), np.zeros(1), {}, 0.1)
        assert w == pytest.approx([1.9], rel=1e-3)


def test_rotating_the_axes_changes_adam_and_not_sgd():
    """SGD and momentum turn along with the axes; Adam takes another path."""
    spin = np.linalg.qr(np.random.default_rng(1).normal(size=(11, 11)))[0]
    options = {"learning_rate": 0.1}
    for rule, same in ((sgd, True), (momentum, True), (adam, False)):
        plain = walk(slope, np.zeros(11), rule, 100, **options)
        turned = walk(rotated(slope, spin), np.zeros(11), rule, 100, **options)
        gap = np.abs(turned @ spin.T - plain).max() / np.abs(plain).max()
        assert (gap < 1e-10) == same
        assert same or gap > 0.01


def test_rules_leave_their_arguments_alone():
    """They return new arrays, so a path can be kept."""
    for rule in RULES:
        w, g = np.ones(3), np.ones(3)
        rule(w, g, {}, 0.1)
        assert w.tolist() == g.tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("rule", [*RULES, with_l2(adam, 2)])
def test_gradients_of_few_bits_move_as_floats_do(rule):
    """The square of 100 has no place in eight bits."""
    w, g = np.array([100.0, -3.0]), np.array([-100, 120], np.int8)
    expected = rule(w, g.astype(float), {}, 1.0)
    np.testing.assert_allclose(rule(w, g, {}, 1.0), expected, rtol=1e-12)
