"""The bypass of a residual block."""

from drawings.shapes import (
    BLUE,
    GREEN,
    PURPLE,
    arrow,
    box,
    canvas,
    circle,
    path,
    text,
)


def bypass():
    """A residual block: what its convolutions make is added to its input."""
    ax = canvas(40, 15)
    text(ax, 1.5, 5, "x")
    for x, words in ((10.5, "conv"), (20.5, "conv")):
        box(ax, x, 5, words, width=6.5)
    box(ax, 35, 5, "ReLU", width=6.5, colour=GREEN)
    circle(ax, 28, 5, "+")
    arrow(ax, (2.8, 5), (7.2, 5))
    arrow(ax, (13.8, 5), (17.2, 5))
    arrow(ax, (23.8, 5), (26.5, 5))
    arrow(ax, (29.5, 5), (31.7, 5))
    arrow(ax, (38.3, 5), (40, 5))
    path(ax, [(4.5, 5), (4.5, 11.5), (28, 11.5), (28, 6.5)], PURPLE)
    text(ax, 16, 13, "x, as it came", PURPLE)
    text(ax, 15.5, 1.3, "F(x), with a ReLU between", BLUE)
    return ax.figure
