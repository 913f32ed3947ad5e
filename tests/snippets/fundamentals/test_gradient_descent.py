"""Gradient descent for linear regression."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Ridge

from snippets.fundamentals.gradient_descent import (
    diverges,
    gradient_descent,
    largest_stable_rate,
    minibatch_descent,
    mse_and_gradient,
    ridge_descent,
)


@pytest.fixture(scope="module")
def curvatures(diabetes):
    """Eigenvalues of the Hessian in weights and bias, ascending."""
    X, y = diabetes
    X1 = np.column_stack([X, np.ones(len(y))])
    return np.linalg.eigvalsh(2 * X1.T @ X1 / len(y))


def test_loss_and_gradient_of_two_points_are_those_worked_by_hand():
    """Errors 1 and -3: loss 5, gradient (1·1 - 3·2, 1·0 - 3·1), bias -2."""
    X, y = np.array([[1.0, 0.0], [2.0, 1.0]]), np.array([2.0, 9.0])
    loss, weights_gradient, bias_gradient = mse_and_gradient(
        X, y, np.array([1.0, 2.0]), 2.0
    )
    assert loss == 5.0
    assert weights_gradient.tolist() == [-5.0, -3.0]
    assert bias_gradient == -2.0


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 30), st.integers(1, 6))
def test_gradient_matches_finite_differences_for_any_data(seed, n, d):
    """Central differences of the loss give the gradient, whatever the data."""
    rng = np.random.default_rng(seed)
    X, y = rng.normal(size=(n, d)), rng.normal(size=n)
    weights, bias, step = rng.normal(size=d), rng.normal(), 1e-4

    def slope(weights_step, bias_step):
        ahead, behind = (
            mse_and_gradient(
                X, y, weights + s * weights_step, bias + s * bias_step
            )[0]
            for s in (1, -1)
        )
        return (ahead - behind) / (2 * step)

    _, weights_gradient, bias_gradient = mse_and_gradient(X, y, weights, bias)
    numeric = [slope(e, 0) for e in step * np.eye(d)]
    np.testing.assert_allclose(weights_gradient, numeric, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(
        bias_gradient, slope(0, step), rtol=1e-6, atol=1e-8
    )


def test_reaches_the_least_squares_solution(diabetes):
    """With enough epochs the weights are those of the exact solution."""
    X, y = diabetes
    exact = np.linalg.lstsq(np.column_stack([X, np.ones(len(X))]), y)[0]
    weights, bias, _ = gradient_descent(X, y, learning_rate=0.2, epochs=10_000)
    np.testing.assert_allclose([*weights, bias], exact, rtol=1e-8)


def test_one_step_is_learning_rate_times_gradient(diabetes):
    # From zero, the first step goes against the gradient, times the rate.
    X, y = diabetes
    _, weights_gradient, bias_gradient = mse_and_gradient(
        X, y, np.zeros(10), 0
    )
    weights, bias, losses = gradient_descent(X, y, 0.03, 1)
    np.testing.assert_allclose(weights, -0.03 * weights_gradient, rtol=1e-12)
    assert bias == pytest.approx(-0.03 * bias_gradient, rel=1e-12)
    assert losses == [np.mean(y**2)]


def test_below_the_limit_the_loss_never_rises(diabetes, curvatures):
    """At 0.99 of 2 / (largest curvature) each of 200 steps lowers the loss."""
    *_, losses = gradient_descent(*diabetes, 0.99 * 2 / curvatures[-1], 200)
    assert len(losses) == 200
    assert np.all(np.diff(losses) < 0)


def test_above_the_limit_the_loss_grows(diabetes, curvatures):
    # At 1.01 of the limit the loss is larger after 500 epochs than before.
    *_, losses = gradient_descent(*diabetes, 1.01 * 2 / curvatures[-1], 500)
    assert losses[-1] > losses[0]


def test_bisection_finds_two_over_the_largest_curvature(diabetes, curvatures):
    """The rate where training starts to diverge is 2 / largest curvature."""
    found = largest_stable_rate(*diabetes)
    assert found == pytest.approx(2 / curvatures[-1], rel=1e-3)


def test_bisection_is_as_sharp_as_asked():
    # With one curvature of 2 the limit is 1, found to the digits given.
    X, y = np.ones((2, 1)) * [[1.0], [-1.0]], np.array([1.0, -1.0])
    assert largest_stable_rate(X, y) == pytest.approx(1.0, rel=1.2e-5)
    coarse = largest_stable_rate(X, y, low=0.5, high=1.9, digits=1)
    assert coarse == pytest.approx(0.5 * 3.8**0.5, rel=1e-12)


def test_bisection_starts_from_its_bounds():
    # Limits of 1.5e-6 and 9.5 are found: they lie within the bounds.
    for limit in (1.5e-6, 9.5):
        X = np.array([[1.0], [-1.0]]) / limit**0.5
        found = largest_stable_rate(X, np.array([1.0, -1.0]))
        assert found == pytest.approx(limit, rel=1e-4)


def test_divergence_is_a_loss_that_rises_or_overflows(curvatures, diabetes):
    # Just below the limit nothing diverges; just above, and far, it does.
    limit = 2 / curvatures[-1]
    assert not diverges(*diabetes, 0.999 * limit)
    assert diverges(*diabetes, 1.001 * limit)
    assert diverges(*diabetes, 1e3)


def test_a_thousand_epochs_decide_about_divergence(diabetes):
    # A loss that falls for 900 epochs and then rises counts as diverging.
    X = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1e-3], [0.0, -1e-3]])
    y = np.array([1e-6, -1e-6, 1.0, -1.0])
    rate = 2.0 * (1 + 0.0053)
    assert diverges(X, y, rate)
    assert not diverges(X, y, rate, epochs=700)


def test_the_smallest_curvature_sets_the_pace(diabetes, curvatures):
    """Late on, an epoch leaves (1 - rate · curvature)² of the excess."""
    X, y = diabetes
    X1 = np.column_stack([X, np.ones(len(y))])
    least = np.mean((X1 @ np.linalg.lstsq(X1, y)[0] - y) ** 2)
    *_, losses = gradient_descent(X, y, learning_rate=0.2, epochs=1500)
    pace = ((losses[1499] - least) / (losses[1299] - least)) ** (1 / 200)
    assert pace == pytest.approx((1 - 0.2 * curvatures[0]) ** 2, rel=1e-5)


def test_the_full_batch_is_gradient_descent(diabetes):
    # With batch_size n, mini-batch descent takes the very same steps.
    X, y = diabetes
    weights, bias, _ = gradient_descent(X, y, 0.05, 30)
    batched, batched_bias, losses = minibatch_descent(X, y, 0.05, 30, len(y))
    np.testing.assert_allclose(batched, weights, rtol=1e-10)
    assert batched_bias == pytest.approx(bias, rel=1e-10)
    assert losses[-1] == pytest.approx(
        mse_and_gradient(X, y, weights, bias)[0]
    )


def test_stochastic_steps_are_those_worked_by_hand(diabetes):
    # Two epochs of batches of 300, with decay, replayed step by step.
    X, y = diabetes
    rng = np.random.default_rng(7)
    weights, bias, t, losses = np.zeros(10), 0.0, 0, []
    for _ in range(2):
        order = rng.permutation(442)
        for batch in (order[:300], order[300:]):
            error = X[batch] @ weights + bias - y[batch]
            step = 0.02 / (1 + 0.5 * t)
            weights = weights - step * 2 * X[batch].T @ error / len(batch)
            bias -= step * 2 * error.mean()
            t += 1
        losses.append(np.mean((X @ weights + bias - y) ** 2))
    found = minibatch_descent(X, y, 0.02, 2, 300, decay=0.5, seed=7)
    np.testing.assert_allclose(found[0], weights, rtol=1e-10)
    assert found[1] == pytest.approx(bias, rel=1e-10)
    np.testing.assert_allclose(found[2], losses, rtol=1e-10)


def test_a_constant_step_stalls_and_a_decaying_one_does_not(diabetes):
    """Batches of 1 end several times nearer to the least loss with decay."""
    constant, decayed = (
        np.mean(
            [
                minibatch_descent(
                    *diabetes, 0.01, 40, 1, decay=decay, seed=seed
                )[2][-1]
                for seed in range(3)
            ]
        )
        for decay in (0.0, 0.001)
    )
    assert constant - 2859.7 > 3 * (decayed - 2859.7) > 0


def test_a_target_column_is_refused(diabetes):
    """A y of shape (n, 1) would broadcast to (n, n) and train on nonsense."""
    X, y = diabetes
    with pytest.raises(ValueError, match=r"y is \(442, 1\)"):
        gradient_descent(X, y[:, None])
    with pytest.raises(ValueError, match=r"X is \(442,\)"):
        gradient_descent(X[:, 0], y)
    with pytest.raises(ValueError, match=r"y is \(441,\)"):
        gradient_descent(X, y[:-1])


def test_too_high_a_learning_rate_is_an_error(diabetes):
    # The loss overflows, and the error names the epoch and the cure.
    with pytest.raises(
        FloatingPointError, match="inf at epoch 80: lower lear"
    ):
        gradient_descent(*diabetes, learning_rate=10.0)


def test_missing_values_are_an_error(diabetes):
    # One NaN in X ends training at once.
    X, y = diabetes
    X = X.copy()
    X[3, 4] = np.nan
    with pytest.raises(FloatingPointError, match="nan at epoch 0"):
        gradient_descent(X, y)


def test_ridge_descent_is_scikit_learns_ridge(diabetes):
    """The penalised weights equal the library's, and the default rate does."""
    X, y = diabetes
    weights, bias = ridge_descent(X, y, penalty=0.1)
    library = Ridge(alpha=0.1 * len(y)).fit(X, y)
    np.testing.assert_allclose(weights, library.coef_, rtol=1e-8)
    assert bias == pytest.approx(library.intercept_)
    same = ridge_descent(X, y, 0.1, learning_rate=0.1, epochs=1000)
    np.testing.assert_array_equal(same[0], weights)


def test_ridge_descent_takes_as_many_steps_as_asked(diabetes):
    # One epoch is one step, of the default rate 0.1.
    X, y = diabetes
    _, weights_gradient, bias_gradient = mse_and_gradient(
        X, y, np.zeros(10), 0
    )
    weights, bias = ridge_descent(X, y, penalty=3.0, epochs=1)
    np.testing.assert_allclose(weights, -0.1 * weights_gradient)
    assert bias == pytest.approx(-0.1 * bias_gradient)


FITS = {
    "gradient descent": lambda X, y: gradient_descent(X, y, 1e-10, 30)[0],
    "batches": lambda X, y: minibatch_descent(X, y, 1e-10, 5)[0],
    "ridge": lambda X, y: ridge_descent(X, y, 0.1, 1e-10, 30)[0],
    "one gradient": lambda X, y: mse_and_gradient(X, y, np.ones(2), 0)[1],
}


@pytest.mark.parametrize("fit", FITS.values(), ids=FITS)
@pytest.mark.parametrize(("kind", "top"), [("uint8", 2**8), ("int16", 2**15)])
def test_numbers_of_few_bits_are_fitted_as_floats_are(fit, kind, top):
    # Twice a byte overflows in silence; the fit is that of floats.
    rng = np.random.default_rng(0)
    X, y = rng.integers(0, top, (50, 2)), rng.integers(0, top, 50)
    expected = fit(X.astype(float), y.astype(float))
    np.testing.assert_allclose(fit(X.astype(kind), y.astype(kind)), expected)


@pytest.mark.parametrize("fit", FITS.values(), ids=FITS)
def test_a_table_of_pandas_is_read_by_place_and_not_by_label(fit):
    # A shuffled table has its old labels; its rows still pair with y's.
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(50, 2)), rng.normal(size=50)
    labels = rng.permutation(50)
    table, column = pd.DataFrame(X, labels), pd.Series(y, labels[::-1])
    np.testing.assert_allclose(fit(table, column), fit(X, y))


def test_unless_told_rates_are_a_hundredth_and_batches_of_32(diabetes):
    # Replayed here, so that a changed default is noticed.
    X, y = diabetes
    *_, losses = gradient_descent(X, y)
    assert len(losses) == 1000
    assert losses[-1] == pytest.approx(2875.6276, abs=1e-3)
    weights, bias, rng = np.zeros(10), 0.0, np.random.default_rng(0)
    for _ in range(20):
        for batch in np.split(rng.permutation(442), range(32, 442, 32)):
            _, slope, bias_slope = mse_and_gradient(
                X[batch], y[batch], weights, bias
            )
            weights, bias = weights - 0.01 * slope, bias - 0.01 * bias_slope
    found = minibatch_descent(X, y)
    np.testing.assert_allclose(found[0], weights, rtol=1e-10)
    assert found[1] == pytest.approx(bias)
    assert len(found[2]) == 20
