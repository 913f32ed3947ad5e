"""Gradient descent in TensorFlow."""

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
