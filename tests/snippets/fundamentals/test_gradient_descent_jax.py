"""Gradient descent in JAX."""

import numpy as np
import pandas as pd
import pytest

jax = pytest.importorskip("jax")


@pytest.fixture(autouse=True)
def in_64_bits():
    """JAX rounds to float32 unless it is told not to."""
    with jax.enable_x64(True):
        yield


@pytest.mark.parametrize("epochs", [1, 2, 50])
def test_jax_takes_the_same_steps(hold_to_numpy, epochs):
    """After one, two and fifty steps the weights equal NumPy's."""
    from snippets.fundamentals.gradient_descent_jax import jax_descent

    hold_to_numpy(jax_descent, 0.05, epochs, rtol=1e-11)


def test_the_defaults_are_those_of_the_lesson(hold_to_numpy):
    """Unless told otherwise: a rate of 0.01, and a thousand epochs."""
    from snippets.fundamentals.gradient_descent_jax import jax_descent

    hold_to_numpy(jax_descent, rtol=1e-10)


def test_bytes_in_a_shuffled_table_are_fitted_as_floats_are():
    """A table of pandas works, whatever its labels and kind of numbers."""
    from snippets.fundamentals.gradient_descent_jax import jax_descent

    X, y = np.array([[200, 0], [100, 50], [3, 9]]), np.array([200, 90, 7])
    table = pd.DataFrame(X.astype(np.uint8), [2, 0, 7])
    column = pd.Series(y.astype(np.uint8), [0, 1, 2])
    found = jax_descent(table, column, 1e-6, 5)
    expected, bias = jax_descent(X.astype(float), y.astype(float), 1e-6, 5)
    np.testing.assert_allclose(found[0], expected, rtol=1e-12)
    assert float(found[1]) == pytest.approx(float(bias))
