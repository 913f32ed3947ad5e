"""Momentum and Nesterov's momentum, and how much faster they are."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_diabetes

from snippets.fundamentals.momentum import (
    best_for_quadratic,
    largest_rate,
    momentum,
    nesterov,
    sgd,
    torch_walk,
    walk,
)


def diabetes():
    """Features with a column of ones, and the target."""
    X, y = load_diabetes(return_X_y=True)
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    return np.column_stack([X, np.ones(len(y))]), y


X1, TARGET = diabetes()
CURVATURES = np.linalg.eigvalsh(2 * X1.T @ X1 / len(TARGET))


def slope(w):
    """The gradient of the mean squared error, by hand."""
    return 2 * X1.T @ (X1 @ w - TARGET) / len(TARGET)


def torch_path(optimizer, path=None, **options):
    """All weights that an optimizer of torch visits in 100 steps, by autograd.

    Given a path, each step starts from its points, so that rounding can't
    grow from step to step, while the optimizer's state runs on.
    """
    w = torch.zeros(11, dtype=torch.float64, requires_grad=True)
    optimizer = optimizer([w], **options)
    inputs, targets = torch.from_numpy(X1), torch.from_numpy(TARGET)
    visited = [w.detach().numpy().copy()]
    for step in range(100):
        if path is not None:
            w.data = torch.tensor(path[step])
        optimizer.zero_grad()
        torch.nn.functional.mse_loss(inputs @ w, targets).backward()
        optimizer.step()
        visited.append(w.detach().numpy().copy())
    return np.array(visited)


def assert_same_path(ours, theirs):
    """Every one of a hundred steps, to ten digits of the largest weight."""
    assert ours.shape == theirs.shape == (101, 11)
    np.testing.assert_allclose(
        ours, theirs, rtol=0, atol=1e-10 * np.abs(theirs).max()
    )


@settings(max_examples=8, deadline=None)
@given(st.floats(1e-4, 0.1), st.floats(0.0, 0.9), st.booleans())
def test_momentum_takes_the_steps_of_torch(rate, beta, ahead):
    """A hundred steps of SGD, momentum and Nesterov, whatever the options."""
    ahead = ahead and beta > 0
    options = {"learning_rate": rate, "beta": beta}
    rule = nesterov if ahead else momentum
    ours = walk(slope, np.zeros(11), rule, 100, **options)
    theirs = torch_path(
        torch.optim.SGD, lr=rate, momentum=beta, nesterov=ahead
    )
    assert_same_path(ours, theirs)
    plain = walk(slope, np.zeros(11), sgd, 100, learning_rate=rate)
    assert_same_path(plain, torch_path(torch.optim.SGD, lr=rate))


def test_called_with_a_learning_rate_only_beta_is_nine_tenths():
    """Without beta given, both are torch's at a momentum of 0.9."""
    for rule, ahead in ((momentum, False), (nesterov, True)):
        ours = walk(slope, np.zeros(11), rule, 100, learning_rate=0.01)
        theirs = torch_path(
            torch.optim.SGD, lr=0.01, momentum=0.9, nesterov=ahead
        )
        assert_same_path(ours, theirs)


def test_two_steps_of_momentum_are_those_worked_by_hand():
    """Gradients 1 and 3, rate 0.1, beta 0.5: steps of 0.1 and 0.35."""
    state, w = {}, np.array([1.0])
    w = momentum(w, np.array([1.0]), state, 0.1, beta=0.5)
    assert w == pytest.approx([0.9])
    w = momentum(w, np.array([3.0]), state, 0.1, beta=0.5)
    assert w == pytest.approx([0.55])
    assert state["velocity"] == pytest.approx([3.5])


def test_nesterov_is_the_gradient_at_the_point_ahead():
    """Nesterov's own form, with the point ahead kept as the weights."""
    x, velocity, rate, beta = np.zeros(11), np.zeros(11), 0.05, 0.8
    ahead = [x]
    for _ in range(100):
        velocity = beta * velocity + slope(ahead[-1])
        x = x - rate * velocity
        ahead.append(x - rate * beta * velocity)
    options = {"learning_rate": rate, "beta": beta}
    ours = walk(slope, np.zeros(11), nesterov, 100, **options)
    assert_same_path(ours, np.array(ahead))


@pytest.mark.parametrize("name", ["sgd", "momentum"])
@pytest.mark.parametrize("penalty", [0.1, 0.3, 1.0])
def test_the_pace_is_the_one_from_theory(name, penalty):
    """Curvatures of real data: a step leaves the predicted fraction."""
    curved = CURVATURES + 2 * penalty
    options, pace = best_for_quadratic(curved[0], curved[-1])[name]
    rule = {"sgd": sgd, "momentum": momentum}[name]
    path = walk(lambda v: curved * v, np.ones(11), rule, 900, **options)
    left = np.linalg.norm(path, axis=1)
    steps = np.argmax(left < 1e-10) - np.argmax(left < 1e-4)
    assert steps > 5
    assert steps * -np.log10(pace) / 6 == pytest.approx(1, rel=0.09)


@pytest.mark.parametrize("name", ["sgd", "momentum"])
def test_no_other_options_have_a_better_pace(name):
    """By the roots in z, other learning rates and betas are slower."""

    def slowest(learning_rate, beta=0.0):
        """The largest root of z² - (1 + beta - rate c) z + beta."""
        return max(
            np.abs(np.roots([1, -(1 + beta - learning_rate * c), beta])).max()
            for c in (CURVATURES[0], CURVATURES[-1])
        )

    options, pace = best_for_quadratic(CURVATURES[0], CURVATURES[-1])[name]
    assert slowest(**options) == pytest.approx(pace, abs=1e-6)
    for key, value in options.items():
        for factor in (0.97, 1.03):
            assert slowest(**{**options, key: value * factor}) > pace + 1e-5


def test_momentum_needs_the_root_of_the_condition_number():
    """A hundred times the condition: 100 times the steps, or 10 times."""
    paces = [best_for_quadratic(1.0, kappa) for kappa in (1e3, 1e5)]
    for name, factor in (("sgd", 100), ("momentum", 10)):
        mild, hard = (np.log(pace[name][1]) for pace in paces)
        assert mild / hard == pytest.approx(factor, rel=0.01)


@pytest.mark.parametrize("beta", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("curvature", [0.5, 8.0])
def test_momentum_raises_the_limit_of_the_learning_rate(beta, curvature):
    """Found by bisection: 2 (1 + beta) / curvature."""
    found = largest_rate(curvature, beta)
    assert found == pytest.approx(2 * (1 + beta) / curvature, rel=1e-5)


def test_rules_leave_their_arguments_alone():
    """They return new arrays, so a path can be kept."""
    for rule in (sgd, momentum, nesterov):
        w, g = np.ones(3), np.ones(3)
        first = rule(w, g, {}, 0.1)
        assert w.tolist() == g.tolist() == [1.0, 1.0, 1.0]
        assert (first < 1).all()


def test_a_path_starts_at_the_start():
    """Of whole numbers, too, and has one point more than steps."""
    path = walk(lambda w: w, [4, 2], sgd, 2, learning_rate=0.5)
    assert path.tolist() == [[4, 2], [2, 1], [1, 0.5]]


def test_the_loop_by_pytorch_ends_where_its_steps_lead():
    """A hundred steps by default, with any option of the optimizer."""
    options = {"lr": 0.1, "momentum": 0.5}
    end = torch_walk(torch.optim.SGD, X1, TARGET, **options)
    path = torch_path(torch.optim.SGD, **options)
    np.testing.assert_allclose(end, path[-1], rtol=1e-12)
