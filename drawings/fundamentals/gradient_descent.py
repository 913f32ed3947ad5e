"""Steps of three sizes on a parabola."""

import numpy as np

from drawings.shapes import BLUE, MUTED, PURPLE, canvas, text


def steps():
    """Where steps lead if they leave 0.5, -0.7 and -1.15 of the distance."""
    ax = canvas(42, 18)
    for left, factor, start, words in (
        (1, 0.5, 5.2, "η < 1/λ"),
        (15, -0.7, 5.2, "1/λ < η < 2/λ"),
        (29, -1.15, 3.0, "η > 2/λ"),
    ):
        middle = left + 6
        x = np.linspace(-5.8, 5.8, 60)
        ax.plot(middle + x, 4 + 0.33 * x**2, color=MUTED, lw=1.2)
        path = start * factor ** np.arange(5)
        colour = PURPLE if factor < -1 else BLUE
        height = 4 + 0.33 * path**2
        ax.plot(middle + path, height, "o-", color=colour, lw=1.4, ms=4)
        ax.plot(middle + path[0], height[0], "s", color=colour, ms=7)
        text(ax, middle, 1.5, words)
    text(ax, 21, 17, "square: the start; dots: after each step", MUTED, 10)
    return ax.figure
