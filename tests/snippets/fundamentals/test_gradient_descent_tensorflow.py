"""Gradient descent in TensorFlow."""

import numpy as np
import pytest

pytest.importorskip("tensorflow")


@pytest.mark.parametrize("epochs", [1, 2, 50])
def test_tensorflow_takes_the_same_steps(hold_to_numpy, epochs):
    """After one, two and fifty steps the weights equal NumPy's."""
    from snippets.fundamentals.gradient_descent_tensorflow import (
        tensorflow_descent,
    )

    hold_to_numpy(tensorflow_descent, 0.05, epochs, rtol=1e-11)


def test_the_defaults_are_those_of_the_lesson(hold_to_numpy):
    """Unless told otherwise: a rate of 0.01, and a thousand epochs."""
    from snippets.fundamentals.gradient_descent_tensorflow import (
        tensorflow_descent,
    )

    hold_to_numpy(tensorflow_descent, rtol=1e-10)


def test_bytes_are_fitted_as_floats_are():
    """Bytes have no gradient in TensorFlow, so they become floats first."""
    from snippets.fundamentals.gradient_descent_tensorflow import (
        tensorflow_descent,
    )

    X, y = np.array([[200, 0], [100, 50], [3, 9]]), np.array([200, 90, 7])
    found, bias = tensorflow_descent(
        X.astype(np.uint8), y.astype(np.uint8), 1e-6, 5
    )
    expected, _ = tensorflow_descent(X.astype(float), y.astype(float), 1e-6, 5)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert np.isfinite(bias)
