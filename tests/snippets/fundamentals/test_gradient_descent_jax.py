"""Gradient descent in JAX."""

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
