"""Regularizers: filters, lasso, dropout, early stopping, augmentation."""

from itertools import product

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax
from sklearn.datasets import load_diabetes, load_digits
from sklearn.linear_model import Lasso, Ridge

from snippets.fundamentals.momentum import sgd, walk
from snippets.fundamentals.neural_network import layers, network
from snippets.fundamentals.optimizers import adam, with_decay, with_l2
from snippets.fundamentals.regularization import (
    EarlyStopping,
    check,
    check_number,
    committee,
    dropout,
    dropout_fit,
    effective_parameters,
    expected_loss,
    filtered_fits,
    lasso,
    relu_features,
    ridge,
    shifts,
    soft_threshold,
    stopping,
    train,
)

seeds = st.integers(0, 2**32 - 1)


def diabetes():
    """Standardised features, and the centred target."""
    X, y = load_diabetes(return_X_y=True)
    return (X - X.mean(axis=0)) / X.std(axis=0), y - y.mean()


X, Y = diabetes()


@pytest.fixture(scope="module")
def digits():
    """A hundred and twenty digits of 64 pixels, and their labels."""
    data = load_digits()
    return data.data[:120] / 16, data.target[:120]


@pytest.mark.parametrize("penalty", [1e-3, 0.1, 10.0])
def test_the_ridge_filter_is_scikit_learns_ridge(penalty):
    """Shares s² / (s² + n penalty) give the library's weights."""
    (ours,) = filtered_fits(X, Y, ridge(penalty))
    theirs = Ridge(penalty * len(Y), fit_intercept=False).fit(X, Y).coef_
    np.testing.assert_allclose(ours, theirs, rtol=1e-8)


@settings(max_examples=20, deadline=None)
@given(seeds, st.integers(1, 200), st.floats(0.01, 0.4))
def test_stopped_descent_is_its_filter(seed, steps, rate):
    """For any data, rate and number of steps, walked or filtered."""
    rng = np.random.default_rng(seed)
    A, b = rng.normal(size=(12, 4)), rng.normal(size=12)
    A /= np.linalg.norm(A, 2) / 12**0.5  # the largest curvature is 1
    path = walk(
        lambda w: A.T @ (A @ w - b) / 12,
        np.zeros(4),
        sgd,
        steps,
        learning_rate=rate,
    )
    (fit,) = filtered_fits(A, b, stopping(rate, steps))
    np.testing.assert_allclose(path[-1], fit, atol=1e-10)


def test_stopping_acts_like_a_penalty_of_one_over_rate_times_steps():
    """Small s: the same share. Any s: stopping keeps at least as much."""
    penalty, s = 1 / (0.1 * 50), np.geomspace(0.03, 30, 100)
    stopped, shrunk = stopping(0.1, 50)(s, 442), ridge(penalty)(s, 442)
    np.testing.assert_allclose(stopped[:20], shrunk[:20], rtol=1e-3)
    assert np.all(stopped >= shrunk * (1 - 1e-9))
    assert np.max(stopped - shrunk) > 0.1


@settings(max_examples=20, deadline=None)
@given(seeds, st.integers(1, 8), st.integers(1, 8))
def test_no_penalty_gives_the_shortest_least_squares_fit(seed, n, d):
    """As NumPy's lstsq, for tall, square and wide X, and for many y."""
    rng = np.random.default_rng(seed)
    A, b = rng.normal(size=(n, d)), rng.normal(size=(n, 3))
    (fit,) = filtered_fits(A, b, ridge(0))
    expected = np.linalg.lstsq(A, b)[0]
    scale = np.abs(expected).max() * np.linalg.cond(A)
    np.testing.assert_allclose(fit, expected, rtol=0, atol=1e-12 * scale)


def test_directions_without_spread_get_no_weight():
    """A repeated feature: each copy gets half, and nothing overflows."""
    twice = np.column_stack([X, X[:, 0]])
    (fit,) = filtered_fits(twice, Y, ridge(0))
    expected = np.linalg.lstsq(X, Y)[0]
    np.testing.assert_allclose(fit[1:-1], expected[1:], rtol=1e-8)
    np.testing.assert_allclose(fit[[0, -1]], expected[0] / 2, rtol=1e-8)
    tiny = np.diag([1.0, 1e-9])  # small, but real
    (fit,) = filtered_fits(tiny, np.ones(2), ridge(0))
    np.testing.assert_allclose(fit, [1, 1e9])
    (fit,) = filtered_fits(np.zeros((3, 2)), np.ones(3), ridge(0))
    assert fit.tolist() == [0, 0]


def test_the_unit_of_all_features_does_not_matter_to_least_squares():
    """A unit 10^15 times larger: weights 10^15 times as large."""
    (fit,) = filtered_fits(X, Y, ridge(0))
    for unit in (1e15, 1e-15):
        (scaled,) = filtered_fits(X / unit, Y, ridge(0))
        np.testing.assert_allclose(scaled / unit, fit, rtol=1e-8)


def test_several_filters_give_a_fit_each():
    """In their order, and the same as one at a time."""
    keeps = (ridge(0.1), stopping(0.1, 7), ridge(3.0))
    together = filtered_fits(X, Y, *keeps)
    assert len(together) == 3
    for keep, fit in zip(keeps, together, strict=True):
        np.testing.assert_array_equal(fit, filtered_fits(X, Y, keep)[0])


def test_soft_threshold_is_that_worked_by_hand():
    """3, -3 and 0.5 by one: 2, -2 and 0."""
    moved = soft_threshold(np.array([3.0, -3.0, 0.5, -0.5]), 1.0)
    assert moved.tolist() == [2, -2, 0, 0]


@settings(max_examples=30, deadline=None)
@given(st.floats(-5, 5), st.floats(0.1, 5), st.floats(0, 5))
def test_soft_threshold_minimises_its_loss(z, curvature, penalty):
    """No weight on a fine grid does better than z less penalty / c."""
    best = soft_threshold(z, penalty / curvature)
    grid = np.append(np.linspace(-6, 6, 2001), best)
    losses = curvature / 2 * (grid - z) ** 2 + penalty * np.abs(grid)
    assert losses[-1] <= losses.min() + 1e-9


@pytest.mark.parametrize("penalty", [0.1, 1.0, 10.0])
def test_the_lasso_is_scikit_learns(penalty):
    """The same weights, and the same zeros; ridge has no zeros."""
    ours = lasso(X, Y, penalty)
    library = Lasso(penalty, fit_intercept=False, tol=1e-10, max_iter=10**5)
    theirs = library.fit(X, Y).coef_
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-8)
    assert ((ours == 0) == (theirs == 0)).all()
    (shrunk,) = filtered_fits(X, Y, ridge(penalty))
    assert np.count_nonzero(shrunk) == 10


def test_a_single_sweep_of_the_lasso_is_that_worked_by_hand():
    """Weight one sees all of y, weight two what is left of it."""
    A, b = np.array([[1.0, 1.0], [1.0, -1.0]]), np.array([5.0, 1.0])
    A[:, 1] *= 2  # curvatures 1 and 4
    assert lasso(A, b, 1.0, sweeps=1).tolist() == [2.0, 0.75]
    A = np.array([[1.0, 1.0], [0.0, 1.0]])
    first = lasso(A, np.array([4.0, 2.0]), 0.5, sweeps=1)
    np.testing.assert_allclose(first, [3.0, 1.0])
    assert lasso.__defaults__ == (1000,)


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 0.9])
def test_dropout_keeps_the_expectation(rate):
    """The mean of 200,000 is 1 within 5 standard errors; 0 or scaled."""
    dropped = dropout(np.ones(200_000), rate, np.random.default_rng(1))
    values = np.unique(dropped)
    expected = [1.0] if rate == 0 else [0.0, 1 / (1 - rate)]
    np.testing.assert_allclose(values, expected)
    error = (rate / (1 - rate) / 200_000) ** 0.5
    assert abs(dropped.mean() - 1) <= 5 * error
    assert np.mean(dropped == 0) == pytest.approx(rate, abs=0.01)


def test_dropout_drops_and_scales_as_torchs():
    """With torch's own mask as the chances: the same numbers."""
    torch.manual_seed(0)
    x = torch.randn(50, 20, dtype=torch.float64)
    theirs = torch.nn.Dropout(0.3)(x).numpy()

    class Replay:
        """Chances that lie above the rate where torch kept an entry."""

        def random(self, shape):
            assert shape == (50, 20)
            return np.where(theirs != 0, 0.3, 0.2999)

    np.testing.assert_allclose(dropout(x.numpy(), 0.3, Replay()), theirs)


def all_masks(A, b, w, rate):
    """Half the mean squared error over every mask, by its chance."""
    total = 0.0
    for mask in product((0, 1), repeat=len(w)):
        chance = np.prod([1 - rate if m else rate for m in mask])
        error = A * np.array(mask) / (1 - rate) @ w - b
        total += chance * np.mean(error**2) / 2
    return total


@settings(max_examples=25, deadline=None)
@given(seeds, st.integers(1, 5), st.floats(0, 0.9))
def test_the_expected_loss_is_the_mean_over_every_mask(seed, d, rate):
    """Exactly, for any linear model: all 2^d masks are tried."""
    rng = np.random.default_rng(seed)
    A, b, w = rng.normal(size=(6, d)), rng.normal(size=6), rng.normal(size=d)
    expected = all_masks(A, b, w, rate)
    assert expected_loss(A, b, w, rate) == pytest.approx(expected, rel=1e-10)


@settings(max_examples=25, deadline=None)
@given(seeds, st.floats(0.01, 0.9))
def test_dropout_of_a_linear_model_is_an_adaptive_ridge(seed, rate):
    """Its fit is ridge on features of unit mean square, scaled back."""
    rng = np.random.default_rng(seed)
    A, b = rng.normal(size=(9, 3)) * [1, 10, 0.1], rng.normal(size=9)
    root = np.sqrt(np.mean(A**2, axis=0))
    (scaled,) = filtered_fits(A / root, b, ridge(rate / (1 - rate)))
    fit = dropout_fit(A, b, rate)
    np.testing.assert_allclose(fit, scaled / root, rtol=1e-8)
    least = expected_loss(A, b, fit, rate)
    for _ in range(5):
        step = rng.normal(size=3) / root * 0.1
        assert expected_loss(A, b, fit + step, rate) > least


def test_without_dropout_the_fit_is_least_squares():
    """At rate zero nothing is penalised."""
    expected = np.linalg.lstsq(X, Y)[0]
    np.testing.assert_allclose(dropout_fit(X, Y, 0.0), expected, rtol=1e-8)


def test_early_stopping_keeps_the_best_and_waits_as_told():
    """Losses 3, 1, 2, 1, 2 at patience 3: stop at the fifth, keep the 2nd."""
    stop, weights = EarlyStopping(patience=3), np.zeros(2)
    answers = []
    for loss in (3.0, 1.0, 2.0, 1.0, 2.0):
        weights += 1  # in place, as torch does
        answers.append(stop(loss, [weights]))
    assert answers == [False, False, False, False, True]
    assert stop.best == 1.0
    assert stop.kept[0].tolist() == [2, 2]


def test_a_better_loss_starts_the_wait_anew():
    """Patience counts epochs since the best; by default ten of them."""
    stop = EarlyStopping(2)
    assert [stop(loss, []) for loss in (3, 4, 2, 2, 2)] == [False] * 4 + [True]
    stop = EarlyStopping()
    answers = [stop(loss, []) for loss in [1.0] * 11]
    assert answers == [False] * 10 + [True]
    assert EarlyStopping(1)(1.0, []) is False


@settings(max_examples=30, deadline=None)
@given(seeds, st.integers(0, 2))
def test_shifts_are_those_of_numpys_roll_without_its_return(seed, pixels):
    """Every offset once; what leaves at one side doesn't return."""
    images = np.random.default_rng(seed).random((2, 4, 5))
    found = shifts(images, pixels)
    offsets = range(pixels, -pixels - 1, -1)
    assert found.shape == ((2 * pixels + 1) ** 2, 2, 4, 5)
    pairs = [(down, right) for down in offsets for right in offsets]
    for moved, (down, right) in zip(found, pairs, strict=True):
        rolled = np.roll(images, (down, right), axis=(1, 2))
        row, column = np.indices((4, 5))
        inside = (row - down >= 0) & (row - down < 4)
        inside &= (column - right >= 0) & (column - right < 5)
        np.testing.assert_array_equal(moved, rolled * inside)


@pytest.mark.parametrize("drop", [0.0, 0.4])
def test_training_takes_the_steps_of_torch(digits, drop):
    """Two copies, batches of 50 and 20, AdamW on weights, Adam on biases."""
    copies, labels = np.stack([digits[0], digits[0][:, ::-1]]), digits[1]
    ours = train(copies, labels, with_decay(adam, 0.5), 3, drop, seed=4)
    theirs = [
        torch.tensor(p.data, requires_grad=True)
        for p in layers((64, 64, 10), 4)
    ]
    optimizer = torch.optim.AdamW(
        [
            {"params": theirs[::2], "weight_decay": 0.5},
            {"params": theirs[1::2], "weight_decay": 0.0},
        ],
        lr=0.01,
    )
    rng = np.random.default_rng(4)
    for _ in range(3):
        order = rng.permutation(120)
        for batch in (order[:50], order[50:100], order[100:]):
            copy = rng.integers(2, size=len(batch))
            x = torch.tensor(copies[copy, batch])
            w1, b1, w2, b2 = theirs
            hidden = torch.relu(x @ w1 + b1)
            kept = rng.random(hidden.shape) >= drop
            logits = hidden * torch.tensor(kept / (1 - drop)) @ w2 + b2
            loss = torch.nn.functional.cross_entropy(
                logits, torch.tensor(labels[batch])
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    for p, their in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(p.data, their.detach().numpy(), atol=1e-9)


def test_training_ends_when_it_is_told_to(digits):
    """after_epoch sees the parameters each epoch; thirty by default."""
    seen = []

    def watch(parameters, last=None):
        seen.append(parameters[3].data[0])
        return len(seen) == last

    copies = digits[0][None]
    train(copies, digits[1], after_epoch=watch)
    assert len(seen) == len(set(seen)) == 30
    seen.clear()
    train(copies, digits[1], after_epoch=lambda p: watch(p, 2))
    assert len(seen) == 2
    assert train.__defaults__ == (adam, 30, 0.0, None, 0)


def test_a_single_epoch_is_possible(digits):
    """One pass, three batches: the biases have moved, by 0.03 at most."""
    parameters = train(digits[0][None], digits[1], epochs=1)
    moved = np.abs(parameters[3].data)
    assert 0.001 < moved.max() <= 0.031


@pytest.mark.parametrize("size", [0.2, 1.0, 5.0])
def test_l2_under_adam_spares_weights_with_large_gradients(size):
    """A step takes rate * decay / size under L2, rate * decay decoupled."""
    lost = {}
    for kind in (with_l2, with_decay):
        rng = np.random.default_rng(0)

        def coin(w, rng=rng):
            signs = rng.choice([-size, size], len(w) // 2)
            return np.concatenate([signs, -signs])

        path = walk(
            coin, np.ones(200), kind(adam, 0.02), 300, learning_rate=0.01
        )
        lost[kind] = -np.log(path[-1].mean()) / (300 * 0.01 * 0.02)
    assert lost[with_l2] == pytest.approx(1 / size, rel=0.03)
    assert lost[with_decay] == pytest.approx(1, rel=1e-3)


def test_random_features_approach_the_arc_cosine_kernel():
    """Inner products of 200,000 features: Cho and Saul's, within 2 %."""
    a, b = np.array([[2.0, 0.0, 1.0], [1.0, 3.0, 0.5]])
    features = relu_features(np.stack([a, b]), 200_000, seed=1)
    lengths = np.linalg.norm(a) * np.linalg.norm(b)
    angle = np.arccos(a @ b / lengths)
    kernel = np.sin(angle) + (np.pi - angle) * np.cos(angle)
    kernel *= lengths / (np.pi * 3)  # 3 is the number of inputs
    assert features[0] @ features[1] == pytest.approx(kernel, rel=0.02)
    assert np.sum(features[0] ** 2) == pytest.approx(a @ a / 3, rel=0.02)
    assert features.min() == 0


def test_random_features_depend_on_width_and_seed_alone():
    """Same seed, same projections, for any rows; zero by default."""
    A = np.random.default_rng(0).normal(size=(5, 4))
    some = relu_features(A, 7)
    np.testing.assert_array_equal(some[:2], relu_features(A[:2], 7, seed=0))
    assert some.shape == (5, 7)
    assert relu_features(A, 1).shape == (5, 1)
    assert not np.array_equal(some, relu_features(A, 7, seed=1))


def test_double_descent_peaks_where_features_are_as_many_as_examples():
    """Digits, medians of 5 seeds: 10 times either side; ridge falls on."""
    data = load_digits()
    one_hot = np.eye(10)[data.target] - 0.1
    table = np.zeros((3, 5, 2, 2))  # width, seed, filter, error or length
    for seed in range(5):
        order = np.random.default_rng(seed).permutation(1797)
        seen, unseen = order[:100], order[100:]
        for row, width in enumerate((20, 100, 1000)):
            features = relu_features(data.data / 16, width, seed)
            fits = filtered_fits(
                features[seen], one_hot[seen], ridge(0), ridge(1e-4)
            )
            for column, w in enumerate(fits):
                missed = features[unseen] @ w - one_hot[unseen]
                table[row, seed, column, 0] = np.sum(missed**2) / len(unseen)
                table[row, seed, column, 1] = np.linalg.norm(w)
    (few, peak, many), shrunk = np.median(table, axis=1)[..., 0].T
    assert peak > 10 * few > 10 * many
    assert shrunk[0] > shrunk[1] > shrunk[2]
    lengths = np.median(table, axis=1)[:, 0, 1]
    assert lengths[1] > 10 * max(lengths[0], lengths[2])


@settings(max_examples=20, deadline=None)
@given(seeds, st.floats(1e-3, 10))
def test_effective_parameters_are_the_trace_of_the_hat_matrix(seed, penalty):
    """Ridge: the trace of X (XᵀX + n penalty I)⁻¹ Xᵀ."""
    A = np.random.default_rng(seed).normal(size=(9, 4))
    inverse = np.linalg.inv(A.T @ A + 9 * penalty * np.eye(4))
    found = effective_parameters(A, ridge(penalty))
    assert found == pytest.approx(np.trace(A @ inverse @ A.T), rel=1e-9)
    assert effective_parameters(A, ridge(0)) == 4


def test_the_mean_logits_of_a_committee_are_one_pass(digits):
    """They close in as 1 / √draws; the mean chances are another thing."""
    parameters = layers((64, 64, 10), 1)
    rows = digits[0]
    one_pass = network(rows, parameters).data
    gaps = []
    for draws in (4, 400):
        logits, chances = committee(parameters, rows, 0.5, draws)
        np.testing.assert_allclose(chances.sum(axis=1), 1)
        gaps.append(np.abs(logits - one_pass).mean())
    assert gaps[0] / gaps[1] == pytest.approx(10, rel=0.3)
    assert np.abs(chances - softmax(one_pass, axis=1)).max() > 0.02


def test_a_committee_of_one_without_dropout_is_the_network(digits):
    """Logits and chances to ten digits, even for logits of thousands."""
    parameters = layers((64, 64, 10), 1)
    parameters[1].data = np.linspace(-1, 1, 64)
    parameters[3].data = np.linspace(-2000, 2000, 10)
    logits, chances = committee(parameters, digits[0], 0.0, 1)
    expected = network(digits[0], parameters).data
    np.testing.assert_allclose(logits, expected, rtol=1e-10)
    np.testing.assert_allclose(chances, softmax(expected, axis=1), rtol=1e-10)
    parameters = layers((64, 64, 10), 1)
    same = [
        committee(parameters, digits[0], 0.5, 3, **seed)[0]
        for seed in ({}, {"seed": 0}, {"seed": 1})
    ]
    np.testing.assert_array_equal(same[0], same[1])
    assert not np.array_equal(same[1], same[2])


BAD = np.array([[1.0, np.nan], [0.0, 1.0]])
OKAY = np.array([[1.0, 2.0], [0.0, 1.0]])
TWO = np.ones(2)
ONE_COPY = np.ones((1, 60, 3))
NONE = np.zeros(60, dtype=int)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: filtered_fits(BAD, TWO), "X: expected finite .* got NaN"),
        (lambda: filtered_fits(TWO, TWO), r"X: .*\(n, d\), got \(2,\)"),
        (lambda: filtered_fits(OKAY[:0], TWO[:0]), r"X: .* got \(0, 2\)"),
        (lambda: filtered_fits(OKAY, np.ones(3)), r"y: .*\(2\), got \(3,\)"),
        (lambda: filtered_fits(OKAY, 1.0), r"y: .*\(2\), got \(\)"),
        (lambda: filtered_fits(OKAY, np.ones((2, 1, 1))), r"\(2, k\), got"),
        (lambda: filtered_fits(OKAY, BAD), "y: expected finite"),
        (lambda: ridge(-1.0), "penalty: expected 0 to below inf, got -1.0"),
        (lambda: ridge(np.nan), "penalty: .* got nan"),
        (lambda: ridge(np.inf), "penalty: .* got inf"),
        (lambda: stopping(-0.1, 5), "rate: .* got -0.1"),
        (lambda: stopping(0.1, 0), "steps: expected 1 to .* got 0"),
        (lambda: lasso(BAD, TWO, 1.0), "X: expected finite"),
        (lambda: lasso(OKAY, OKAY, 1.0), r"y: .*\(2\), got \(2, 2\)"),
        (lambda: lasso(OKAY, TWO, -1.0), "penalty: .* got -1.0"),
        (lambda: lasso(OKAY, TWO, 1.0, 0), "sweeps: .* got 0"),
        (lambda: dropout(TWO, 1.0, None), "rate: expected 0 to below 1"),
        (lambda: dropout(TWO, -0.1, None), "rate: .* got -0.1"),
        (lambda: dropout(TWO, np.nan, None), "rate: .* got nan"),
        (lambda: expected_loss(BAD, TWO, TWO, 0.5), "X: expected finite"),
        (lambda: expected_loss(OKAY, [1], TWO, 0.5), r"y: .* got \(1,\)"),
        (lambda: expected_loss(OKAY, TWO, [1], 0.5), r"w: .* got \(1,\)"),
        (lambda: expected_loss(OKAY, TWO, TWO, 1), "rate: .* got 1"),
        (lambda: dropout_fit(BAD, TWO, 0.5), "X: expected finite"),
        (lambda: dropout_fit(OKAY, [1], 0.5), r"y: .* got \(1,\)"),
        (lambda: dropout_fit(OKAY, TWO, 1.0), "rate: .* got 1.0"),
        (lambda: EarlyStopping(0), "patience: expected 1 to .* got 0"),
        (lambda: EarlyStopping()(np.nan, []), "loss: expected finite"),
        (lambda: EarlyStopping()(TWO, []), r"loss: .*\(\), got \(2,\)"),
        (lambda: shifts(OKAY, 1), r"images: .*\(n, h, w\), got \(2, 2\)"),
        (lambda: shifts(OKAY[None], 2), "pixels: expected 0 to below 2"),
        (lambda: shifts(np.ones((1, 3, 2)), 2), "pixels: .* below 2, got 2"),
        (lambda: shifts(OKAY[None], -1), "pixels: .* got -1"),
        (lambda: train(ONE_COPY[0], NONE), r"copies: .* got \(60, 3\)"),
        (lambda: train(ONE_COPY * np.inf, NONE), "copies: expected finite"),
        (lambda: train(ONE_COPY, NONE[:9]), r"labels: .*\(60\), got \(9,\)"),
        (lambda: train(ONE_COPY, NONE, epochs=0), "epochs: .* got 0"),
        (lambda: train(ONE_COPY, NONE, drop=1.0), "rate: .* got 1.0"),
        (lambda: relu_features(TWO, 3), r"X: .*\(n, d\), got \(2,\)"),
        (lambda: relu_features(OKAY, 0), "width: .* got 0"),
        (lambda: effective_parameters(BAD, ridge(1)), "X: expected finite"),
        (lambda: committee(layers((3, 2)), OKAY, 0, 1), r"X: .*\(n, 3\)"),
        (lambda: committee(layers((2, 3)), OKAY, 0, 0), "draws: .* got 0"),
    ],
)
def test_bad_input_is_refused(call, message):
    """Each error names the argument, what was expected, and what came."""
    with pytest.raises(ValueError, match=message):
        call()


def test_the_bounds_themselves_are_allowed():
    """A letter stands for any size but none; low is allowed, high isn't."""
    check("X", np.zeros((1, 2)), "n", 2)
    check_number("rate", 0, 0, 1)
    assert ridge(0)(TWO, 2).tolist() == [1, 1]
    assert stopping(0, 1)(TWO, 2).tolist() == [0, 0]
    assert dropout(TWO, 0, np.random.default_rng(0)).tolist() == [1, 1]
    assert lasso(OKAY, TWO, 0, sweeps=1).shape == (2,)
    assert shifts(OKAY[None], 0).shape == (1, 1, 2, 2)
    with pytest.raises(ValueError, match="rate: expected 0 to below 1, got 1"):
        check_number("rate", 1, 0, 1)
    with pytest.raises(ValueError, match=r"X: expected shape \(n, 2\)"):
        check("X", np.zeros((0, 2)), "n", 2)


FITS = {
    "ridge": lambda A, b: filtered_fits(A, b, ridge(0.1))[0],
    "lasso": lambda A, b: lasso(A, b, 0.1),
    "dropout": lambda A, b: dropout_fit(A, b, 0.5),
    "loss": lambda A, b: expected_loss(A, b, np.array([2, 3], np.int8), 0.5),
    "features": lambda A, b: relu_features(A, 3),
    "committee": lambda A, b: committee(layers((2, 4, 3)), A, 0.5, 2)[0],
    "effective": lambda A, b: effective_parameters(A, ridge(9.0)),
}


@pytest.mark.parametrize("fit", FITS.values(), ids=FITS)
@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.float16])
def test_numbers_of_few_bits_are_fitted_as_floats_are(fit, kind):
    """Squares of bytes overflow in silence; the fit is that of floats."""
    rng = np.random.default_rng(0)
    A, b = rng.integers(0, 256, (50, 2)), rng.integers(0, 256, 50)
    expected = fit(A.astype(float), b.astype(float))
    np.testing.assert_allclose(fit(A.astype(kind), b.astype(kind)), expected)
    names = rng.permutation(50)
    table = pd.DataFrame(A.astype(kind), names)
    column = pd.Series(b.astype(kind), names[::-1])
    np.testing.assert_allclose(fit(table, column), expected)


def test_a_byte_below_the_threshold_becomes_zero():
    """Bytes 1 and 5, moved by 3: 0 and 2, where bytes wrap around."""
    assert soft_threshold(np.array([1, 5], np.uint8), 3).tolist() == [0, 2]


@pytest.mark.parametrize(
    "fit",
    [lambda A: lasso(A, Y, 1.0), lambda A: dropout_fit(A, Y, 0.5)],
)
def test_a_column_of_zeros_gets_no_weight(fit):
    """Blank pixels are such columns; the other weights stay as they were."""
    found = fit(np.column_stack([X[:, :2], 0 * Y, X[:, 2:]]))
    assert found[2] == pytest.approx(0, abs=1e-9)
    np.testing.assert_allclose(np.delete(found, 2), fit(X), rtol=1e-9)


def test_a_repeated_feature_shares_its_weight_without_dropout():
    """Of all least-squares fits it is the shortest: each copy gets half."""
    found = dropout_fit(np.column_stack([X, X[:, 2]]), Y, 0.0)
    alone = dropout_fit(X, Y, 0.0)[2]
    np.testing.assert_allclose(found[[2, -1]], alone / 2, rtol=1e-8)


def test_a_direction_without_spread_is_no_effective_parameter():
    """Zeros and copies add columns, and no parameter."""
    more = np.column_stack([X, X[:, 0], 0 * Y])
    assert effective_parameters(more, ridge(0)) == 10
    assert effective_parameters(np.zeros((3, 2)), ridge(0)) == 0


def test_labels_of_a_shuffled_table_are_taken_by_place():
    """A series of pandas has old labels; rows pair by their place."""
    rng = np.random.default_rng(0)
    copies, labels = rng.random((1, 60, 3)), rng.integers(0, 10, 60)
    column = pd.Series(labels, rng.permutation(60))
    for found, expected in zip(
        train(copies, column, epochs=1),
        train(copies, labels, epochs=1),
        strict=True,
    ):
        np.testing.assert_array_equal(found.data, expected.data)
