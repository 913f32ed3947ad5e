"""Optimizers and schedules from scratch."""

import inspect

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_diabetes, load_digits

from snippets.fundamentals.backpropagation import (
    fused_cross_entropy,
    layers,
    network,
)
from snippets.fundamentals.optimizers import (
    adam,
    adamw,
    best_for_quadratic,
    largest_rate,
    momentum,
    nesterov,
    rmsprop,
    rotated,
    sgd,
    train,
    uncorrected_share,
    walk,
    warmup_cosine,
    with_decay,
    with_l2,
)

RULES = [sgd, momentum, nesterov, rmsprop, adam, adamw]
BETAS = st.floats(0.5, 0.999)


def diabetes():
    """Features with a column of ones, and the target."""
    X, y = load_diabetes(return_X_y=True)
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    return np.column_stack([X, np.ones(len(y))]), y


X1, TARGET = diabetes()
HESSIAN = 2 * X1.T @ X1 / len(TARGET)
CURVATURES = np.linalg.eigvalsh(HESSIAN)
SOLUTION = np.linalg.lstsq(X1, TARGET)[0]


def slope(w):
    """The gradient of the mean squared error, by hand."""
    return 2 * X1.T @ (X1 @ w - TARGET) / len(TARGET)


def torch_walk(optimizer, path=None, **options):
    """All weights that an optimizer of torch visits, by autograd.

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
    rule = nesterov if ahead else momentum
    ours = walk(slope, np.zeros(11), rule, 100, rate=rate, beta=beta)
    theirs = torch_walk(
        torch.optim.SGD, lr=rate, momentum=beta, nesterov=ahead
    )
    assert_same_path(ours, theirs)
    plain = walk(slope, np.zeros(11), sgd, 100, rate=rate)
    assert_same_path(plain, torch_walk(torch.optim.SGD, lr=rate))


@settings(max_examples=8, deadline=None)
@given(st.floats(1e-3, 1.0), BETAS, st.floats(1e-8, 1.0))
def test_rmsprop_takes_the_steps_of_torch(rate, beta, eps):
    """A hundred steps, whatever the rate, decay and epsilon."""
    ours = walk(
        slope, np.zeros(11), rmsprop, 100, rate=rate, beta=beta, eps=eps
    )
    options = {"lr": rate, "alpha": beta, "eps": eps}
    assert_same_path(ours, torch_walk(torch.optim.RMSprop, ours, **options))


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
        ours = walk(slope, np.zeros(11), rule, 100, rate=rate, **options)
        assert_same_path(
            ours, torch_walk(optimizer, ours, weight_decay=decay, **theirs)
        )


def test_defaults_are_those_of_torch():
    """Called with a rate only, each rule is torch's with a rate only."""
    for rule, optimizer, options in (
        (momentum, torch.optim.SGD, {"momentum": 0.9}),
        (nesterov, torch.optim.SGD, {"momentum": 0.9, "nesterov": True}),
        (rmsprop, torch.optim.RMSprop, {}),
        (adam, torch.optim.Adam, {}),
        (adamw, torch.optim.AdamW, {}),
    ):
        ours = walk(slope, np.zeros(11), rule, 100, rate=0.01)
        assert_same_path(ours, torch_walk(optimizer, lr=0.01, **options))
    for rule in (rmsprop, adam):
        assert inspect.signature(rule).parameters["eps"].default == 1e-8


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
    ours = walk(slope, np.zeros(11), nesterov, 100, rate=rate, beta=beta)
    assert_same_path(ours, np.array(ahead))


@pytest.mark.parametrize("name", ["sgd", "momentum"])
@pytest.mark.parametrize("penalty", [0.1, 0.3, 1.0])
def test_the_pace_is_the_one_from_theory(name, penalty):
    """Curvatures of real data: a step leaves the predicted share."""
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
    """The slowest mode, by its characteristic roots, is slower elsewhere."""

    def slowest(rate, beta=0.0):
        """The largest root of z² - (1 + beta - rate c) z + beta."""
        return max(
            np.abs(np.roots([1, -(1 + beta - rate * c), beta])).max()
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


def test_equal_curvatures_are_solved_in_one_step():
    """At condition number 1 both take one step to the best point."""
    for options, pace in best_for_quadratic(4.0, 4.0).values():
        assert options["rate"] == 0.25
        assert pace == 0
        assert options.get("beta", 0) == 0


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
        assert uncorrected_share(t, beta1, beta2) == pytest.approx(factor)


def test_adam_without_correction_starts_three_times_too_large():
    """0.1 / sqrt(0.001) = 3.16 times the rate, and 6.57 at step 12."""
    assert uncorrected_share(1) == pytest.approx(0.1 / 0.001**0.5)
    shares = [uncorrected_share(t) for t in range(1, 101)]
    assert np.argmax(shares) + 1 == 12
    assert max(shares) == pytest.approx(6.57, abs=0.01)
    first = adam(np.zeros(11), slope(np.zeros(11)), {}, 0.01, correct=False)
    np.testing.assert_allclose(np.abs(first), 0.01 * 10**0.5, rtol=1e-6)


def test_first_steps_are_the_rate_whatever_the_gradient():
    """Adam's is the rate in each weight, RMSProp's ten times that."""
    g = slope(np.zeros(11))
    for rule, factor in ((adam, 1), (rmsprop, 10)):
        first = rule(np.zeros(11), g, {}, rate=0.01)
        np.testing.assert_allclose(first, -0.01 * factor * np.sign(g), 1e-6)


def test_adam_does_not_see_the_scale_of_the_loss_until_epsilon():
    """Gradients times 1e-3: the same path; times 1e-12: hardly a step."""

    def end(scale):
        return walk(
            lambda w: scale * slope(w), np.zeros(11), adam, 50, rate=1.0
        )[-1]

    np.testing.assert_allclose(end(1e-3), end(1.0), rtol=1e-4, atol=1e-4)
    assert np.abs(end(1e-12)).max() < 0.05 * np.abs(end(1.0)).max()


@settings(max_examples=10, deadline=None)
@given(st.floats(1e-4, 0.2), st.floats(0.0, 1.0))
def test_the_two_decays_are_one_under_sgd(rate, decay):
    """The same path, for any rate and decay."""
    ends = [
        walk(slope, np.ones(11), kind(sgd, decay), 100, rate=rate)
        for kind in (with_l2, with_decay)
    ]
    assert_same_path(*ends)


@pytest.mark.parametrize("rule", [momentum, adam])
def test_the_two_decays_differ_under_state(rule):
    """Under momentum and Adam they end more than a tenth apart."""
    ends = [
        walk(slope, np.ones(11), kind(rule, 0.1), 100, rate=0.1)[-1]
        for kind in (with_l2, with_decay)
    ]
    assert np.linalg.norm(ends[0] - ends[1]) > 0.1 * np.linalg.norm(ends[0])


def test_decoupled_decay_shrinks_an_unused_weight_by_rate_times_decay():
    """Without a gradient: AdamW's factor is 1 - rate * decay a step."""
    w = adamw(np.array([2.0]), np.zeros(1), {}, rate=0.1)
    assert w == pytest.approx([2.0 * (1 - 0.1 * 0.01)], rel=1e-12)
    for decay in (1e-5, 1e-2):
        w = with_l2(adam, decay)(np.array([2.0]), np.zeros(1), {}, 0.1)
        assert w == pytest.approx([1.9], rel=1e-3)


def test_schedule_is_the_one_worked_by_hand():
    """Up in quarters, the peak, half of it half-way down, near 0 at last."""
    shares = [warmup_cosine(step, 12, 4) for step in range(12)]
    assert shares[:5] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert shares[8] == pytest.approx(0.5)
    assert shares[11] == pytest.approx((1 - np.cos(np.pi / 8)) / 2)
    assert warmup_cosine(0, 12) == 1.0
    assert warmup_cosine(3, 12) == pytest.approx((1 + 0.5**0.5) / 2)


def test_cosine_follows_torchs_schedule():
    """Without warm-up the shares are those of CosineAnnealingLR."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 50)
    for step in range(50):
        assert warmup_cosine(step, 50) == pytest.approx(
            theirs.get_last_lr()[0], rel=1e-9
        )
        optimizer.step()
        theirs.step()


@pytest.fixture(scope="module")
def digits():
    """A hundred digits, and their labels."""
    data = load_digits()
    return data.data[:100] / 16, data.target[:100]


@pytest.mark.parametrize("scheduled", [False, True])
def test_training_takes_the_steps_of_torch(digits, scheduled):
    """Three epochs of digits, last batches of 4: torch's weights."""
    X, labels = digits
    schedule = (lambda a, b: warmup_cosine(a, b, 3)) if scheduled else None
    ours = train(X, labels, adam, 0.02, 5, 3, schedule, beta2=0.99)
    theirs = [
        torch.tensor(p.data, requires_grad=True)
        for p in layers((64, 32, 10), 5)
    ]
    optimizer = torch.optim.Adam(theirs, lr=0.02, betas=(0.9, 0.99))
    rng, step = np.random.default_rng(5), 0
    for _ in range(3):
        order = torch.from_numpy(rng.permutation(100))
        for batch in order.split(32):
            w1, b1, w2, b2 = theirs
            logits = torch.relu(torch.tensor(X)[batch] @ w1 + b1) @ w2 + b2
            loss = torch.nn.functional.cross_entropy(
                logits, torch.tensor(labels)[batch]
            )
            optimizer.zero_grad()
            loss.backward()
            if scheduled:
                optimizer.param_groups[0]["lr"] = 0.02 * warmup_cosine(
                    step, 12, 3
                )
            optimizer.step()
            step += 1
    assert step == 12
    for p, their in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(p.data, their.detach().numpy(), atol=1e-10)


def test_training_learns_the_digits_in_five_epochs(digits):
    """By default five epochs, seed 0, a constant rate; the loss halves."""
    parameters = train(*digits, adam, 0.02)
    start = layers((64, 32, 10), 0)
    before, after = (
        float(fused_cross_entropy(network(digits[0], p), digits[1]).data)
        for p in (start, parameters)
    )
    assert after < before / 2
    named = train(*digits, adam, 0.02, seed=0, epochs=5, schedule=None)
    for p, q in zip(parameters, named, strict=True):
        np.testing.assert_array_equal(p.data, q.data)


def test_one_epoch_is_a_single_pass(digits):
    """With one epoch a schedule sees steps 0 to 3 of 4."""
    calls = []

    def schedule(step, steps):
        calls.append((step, steps))
        return 1.0

    train(*digits, sgd, 0.1, epochs=1, schedule=schedule)
    assert calls == [(0, 4), (1, 4), (2, 4), (3, 4)]


def test_l2_under_adam_empties_weights_that_nothing_uses(digits):
    """Blank pixels: gone under L2, whatever its strength; kept under AdamW."""
    X, labels = digits
    blank = X.max(axis=0) == 0
    assert blank.sum() >= 3
    before = np.abs(layers((64, 32, 10), 0)[0].data[blank]).mean()
    for decay in (1e-4, 1e-2):
        for kind, low, high in ((with_l2, 0, 0.1), (with_decay, 0.95, 1)):
            rule = kind(adam, decay)
            weights = train(X, labels, rule, 0.02, epochs=15)[0].data[blank]
            assert low <= np.abs(weights).mean() / before <= high


@pytest.mark.parametrize("beta", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("curvature", [0.5, 8.0])
def test_momentum_raises_the_limit_of_the_rate(beta, curvature):
    """Found by bisection: 2 (1 + beta) / curvature."""
    found = largest_rate(curvature, beta)
    assert found == pytest.approx(2 * (1 + beta) / curvature, rel=1e-5)


def test_turning_the_axes_changes_adam_and_not_sgd():
    """SGD and momentum turn along with the axes; Adam takes another path."""
    spin = np.linalg.qr(np.random.default_rng(1).normal(size=(11, 11)))[0]
    for rule, same in ((sgd, True), (momentum, True), (adam, False)):
        plain = walk(slope, np.zeros(11), rule, 100, rate=0.1)
        turned = walk(rotated(slope, spin), np.zeros(11), rule, 100, rate=0.1)
        gap = np.abs(turned @ spin.T - plain).max() / np.abs(plain).max()
        assert (gap < 1e-10) == same
        assert same or gap > 0.01


def test_rules_leave_the_weights_they_are_given_alone():
    """They return new arrays, so a path can be kept."""
    for rule in RULES:
        w, g = np.ones(3), np.ones(3)
        rule(w, g, {}, rate=0.1)
        assert w.tolist() == g.tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("rule", RULES)
def test_the_state_of_another_array_is_refused(rule):
    """A bias' state would fit a matrix, by broadcasting. It is an error."""
    state = {}
    rule(np.zeros(3), np.ones(3), state, 0.1)
    if rule is sgd:
        assert state == {}
        return
    for shape in ((2, 3), (1,), ()):
        with pytest.raises(ValueError, match=r"state: .*, got \(3,\); each"):
            rule(np.zeros(shape), np.ones(shape), state, 0.1)


@pytest.mark.parametrize("rule", RULES)
def test_bad_input_of_a_rule_is_refused(rule):
    """Wrong shapes, NaN, infinite gradients and negative rates: an error."""
    w = np.zeros(3)
    for g, rate, message in (
        (np.zeros((3, 1)), 0.1, r"g: expected shape \(3,\).* got \(3, 1\)"),
        (np.array([0, np.nan, 0]), 0.1, "g: expected finite .* got NaN"),
        (np.array([0, np.inf, 0]), 0.1, "g: expected finite .* infinity"),
        (w, -0.1, "rate: expected a number >= 0, got -0.1"),
        (w, np.inf, "rate: expected a number >= 0, got inf"),
        (w, np.nan, "rate: expected a number >= 0, got nan"),
    ):
        with pytest.raises(ValueError, match=message):
            rule(w, g, {}, rate)
    assert rule(w, w, {}, 0.0).tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("rule", "name"),
    [
        (momentum, "beta"),
        (nesterov, "beta"),
        (rmsprop, "beta"),
        (adam, "beta1"),
        (adam, "beta2"),
        (adamw, "beta1"),
    ],
)
def test_a_beta_of_one_is_refused(rule, name):
    """Each beta must be at least 0 and below 1."""
    for beta in (1.0, -0.1, np.nan):
        with pytest.raises(ValueError, match=f"{name}: expected 0 <= .* got"):
            rule(np.zeros(3), np.zeros(3), {}, 0.1, **{name: beta})
    assert rule(np.zeros(3), np.zeros(3), {}, 0.1, **{name: 0.0}).any() == 0


@pytest.mark.parametrize("rule", [rmsprop, adam, adamw])
def test_an_epsilon_of_zero_is_refused(rule):
    """A weight without gradients would get 0 / 0."""
    for eps in (0.0, -1e-8, np.inf):
        with pytest.raises(ValueError, match="eps: expected a number > 0"):
            rule(np.zeros(3), np.zeros(3), {}, 0.1, eps=eps)


def test_bad_decay_steps_and_schedules_are_refused(digits):
    """Each error names the argument, what was expected, and what came."""
    zeros = np.zeros(11)
    for call, message in (
        (lambda: with_l2(sgd, -1.0), "decay: expected .* >= 0, got -1.0"),
        (lambda: with_decay(sgd, np.inf), "decay: expected .* got inf"),
        (lambda: with_l2(sgd, np.inf), "decay: expected .* got inf"),
        (lambda: with_decay(sgd, -1.0), "decay: expected .* got -1.0"),
        (lambda: walk(slope, zeros, sgd, 0), "steps: expected .* got 0"),
        (lambda: uncorrected_share(0), "t: expected at least 1, got 0"),
        (lambda: warmup_cosine(0, 9, 9), "warmup: expected 0 to 8, got 9"),
        (lambda: warmup_cosine(0, 9, -1), "warmup: expected 0 to 8, got -1"),
        (lambda: warmup_cosine(9, 9), "step: expected 0 to 8, got 9"),
        (lambda: warmup_cosine(-1, 9), "step: expected 0 to 8, got -1"),
        (lambda: largest_rate(0.0, 0.9), "curvature: expected .* got 0.0"),
        (lambda: largest_rate(np.inf, 0.9), "curvature: .* got inf"),
        (lambda: rotated(slope, 2 * np.eye(3)), "rotation: .* got others"),
        (lambda: best_for_quadratic(0.0, 1.0), "smallest: .* got 0.0 and"),
        (lambda: best_for_quadratic(2.0, 1.0), "smallest: .* got 2.0 and"),
        (lambda: train(*digits, sgd, 0.1, epochs=0), "epochs: .* got 0"),
        (lambda: train(digits[0][0], [1], sgd, 0.1), "X: expected .* got"),
        (lambda: train(digits[0], [1], sgd, 0.1), "labels: expected 100"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    for rule in (sgd, momentum, adam):
        decayed = with_decay(rule, 4.0)
        with pytest.raises(ValueError, match=r"at most 1 / rate, 2, got 4\.0"):
            decayed(zeros, zeros, {}, 0.5)
        assert decayed(zeros + 1, zeros, {}, 0.25).tolist() == zeros.tolist()
    assert len(walk(slope, zeros, sgd, 1, rate=0.1)) == 2
    assert with_l2(sgd, 0.0)(1.0, 1.0, {}, 0.1) == 0.9
    assert with_decay(sgd, 0.0)(1.0, 1.0, {}, 0.1) == 0.9


@pytest.mark.parametrize(
    "rule", [*RULES, with_l2(sgd, 2), with_decay(sgd, 0.5)]
)
def test_weights_and_gradients_of_few_bits_move_as_floats_do(rule):
    """The square of 100 has no place in eight bits, and place counts."""
    w, g = np.array([100, -3], np.int8), np.array([-100, 120], np.int8)
    expected = rule(w.astype(float), g.astype(float), {}, 1.0)
    found = rule(w, g, {}, 1)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    found = rule(pd.Series(w, [1, 0]), pd.Series(g, [0, 1]), {}, 1)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_a_shuffled_table_trains_as_its_arrays_do(digits):
    """Rows and labels of pandas pair by place, whatever they are called."""
    X, labels = digits[0][:64], digits[1][:64]
    names = np.random.default_rng(0).permutation(64)
    table, column = pd.DataFrame(X, names), pd.Series(labels, names[::-1])
    for found, expected in zip(
        train(table, column, sgd, 0.1, epochs=1),
        train(X, labels, sgd, 0.1, epochs=1),
        strict=True,
    ):
        np.testing.assert_array_equal(found.data, expected.data)
