"""Learning rate schedules."""

import numpy as np
import pytest

from snippets.fundamentals.learning_rate_schedules import mean


def test_the_mean_is_numpys():
    """For a hundred numbers, ours and the library's agree."""
    values = np.random.default_rng(1).normal(size=100)
    assert mean(values) == pytest.approx(values.mean(), rel=1e-12)


def test_no_numbers_have_no_mean():
    """An empty list is an error, and the message says what to give."""
    with pytest.raises(ValueError, match="at least one number"):
        mean([])
