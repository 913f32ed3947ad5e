"""What the tests of gradient descent share, whatever the library."""

import numpy as np
import pytest
from sklearn.datasets import load_diabetes

from snippets.fundamentals.gradient_descent import gradient_descent


@pytest.fixture(scope="module")
def diabetes():
    X, y = load_diabetes(return_X_y=True)
    return (X - X.mean(axis=0)) / X.std(axis=0), y


@pytest.fixture
def hold_to_numpy(diabetes):
    """Assert that another descent ends where gradient_descent does."""

    def hold(descent, *options, rtol):
        ours, our_bias, _ = gradient_descent(*diabetes, *options)
        weights, bias = descent(*diabetes, *options)
        assert weights.dtype == np.float64
        np.testing.assert_allclose(weights, ours, rtol=rtol)
        assert float(bias) == pytest.approx(our_bias, rel=1e-12)

    return hold
