"""Printed text against shown text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runnable_pages.compare import compare_text


@pytest.mark.parametrize(
    ("shown", "printed", "same"),
    [
        ("loss 1.00", "loss 1.009", True),
        ("loss 1.00", "loss 1.02", False),
        ("loss   9.95", "loss  10.00", True),  # padding follows the width
        ("loss 0.00", "loss 0.004", True),  # half of the last digit
        ("loss 0.00", "loss 0.006", False),
        ("1e-3", "1.005e-3", True),
        ("1e-3", "1e-4", False),
        ("12", "12", True),
        ("12", "13", False),
        ("1000", "1001", False),  # counts are exact
        ("1,000", "1000", True),
        ("1", "1.0", False),
        ("-1.0", "1.0", False),
        ("begins 89504e470d", "begins 89504e470d", True),  # no number
        ("begins 89504e470d", "begins 89504e471d", False),
        ("begins 89504e470d", "begins 1.5", False),
        ("a b", "a  b", True),
        ("a b", "a c", False),
        ("a", "a\nb", False),
        ("nan", "nan", True),
        ("nan", "1.0", False),
        ("x 1.0 y", "x 1.0", False),
        ("1.0 2.0", "1.0 2.5", False),
        ("bf16", "bf32", False),
    ],
)
def test_what_counts_as_the_same(shown, printed, same):
    """Text and counts exactly, measurements within the tolerance."""
    assert (compare_text(shown, printed, 1e-2) == "") is same


@given(st.floats(0.01, 1e6), st.floats(-0.02, 0.02))
def test_the_tolerance_is_relative(value, share):
    """Within it passes, outside it fails, at any size."""
    if abs(abs(share) - 1e-2) < 1e-4:
        return
    shown, printed = f"{value:.9e}", f"{value * (1 + share):.9e}"
    assert (compare_text(shown, printed, 1e-2) == "") == (abs(share) < 1e-2)


def test_the_message_shows_the_difference():
    """Number, share and tolerance, then a diff."""
    told = compare_text("a\nloss 2.00", "a\nloss 3.00", 1e-2)
    assert "line 2: 2.00 shown, 3.00 printed (50.00% apart" in told
    assert "-loss 2.00\n+loss 3.00" in told
