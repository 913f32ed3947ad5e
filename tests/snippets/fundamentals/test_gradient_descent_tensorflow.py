"""Gradient descent in TensorFlow."""

import numpy as np
import pytest
from sklearn.datasets import load_diabetes

from snippets.fundamentals.gradient_descent import gradient_descent

pytest.importorskip("tensorflow")


@pytest.fixture(scope="module")
def diabetes():
    X, y = load_diabetes(return_X_y=True)
    return (X - X.mean(axis=0)) / X.std(axis=0), y


@pytest.mark.parametrize("epochs", [1, 2, 50])
def test_tensorflow_takes_the_same_steps(diabetes, epochs):
    """After one, two and fifty steps the weights equal NumPy's."""
    from snippets.fundamentals.gradient_descent_tensorflow import (
        tensorflow_descent,
    )

    ours, our_bias, _ = gradient_descent(*diabetes, 0.05, epochs)
    weights, bias = tensorflow_descent(*diabetes, 0.05, epochs)
    assert weights.dtype == np.float64
    np.testing.assert_allclose(weights, ours, rtol=1e-11)
    assert float(bias) == pytest.approx(our_bias, rel=1e-12)


def test_the_defaults_are_those_of_the_lesson(diabetes):
    """Unless told otherwise: a rate of 0.01, and a thousand epochs."""
    from snippets.fundamentals.gradient_descent_tensorflow import (
        tensorflow_descent,
    )

    ours, our_bias, _ = gradient_descent(*diabetes)
    weights, bias = tensorflow_descent(*diabetes)
    np.testing.assert_allclose(weights, ours, rtol=1e-10)
    assert float(bias) == pytest.approx(our_bias, rel=1e-12)
