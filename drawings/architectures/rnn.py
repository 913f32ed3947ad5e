"""A chain unrolled, and the cell of an LSTM."""

from drawings.shapes import (
    BLUE,
    GREEN,
    MUTED,
    PURPLE,
    arrow,
    box,
    canvas,
    circle,
    path,
    text,
)


def unrolled():
    """The same cell at each step; forward to the right, gradients back."""
    ax = canvas(42, 21)
    for t, x in enumerate((10, 21, 32), start=1):
        box(ax, x, 10, "cell", width=6)
        text(ax, x, 2, f"x{chr(0x2080 + t)}")
        arrow(ax, (x, 3.5), (x, 7.8))
        text(ax, x, 18, f"h{chr(0x2080 + t)}")
        arrow(ax, (x, 12.2), (x, 16.5))
    text(ax, 1.5, 11, "h₀")
    for start, end in ((2.8, 6.8), (13.2, 17.8), (24.2, 28.8), (35.2, 40)):
        arrow(ax, (start, 11), (end, 11))
    for start, end in ((28.8, 24.2), (17.8, 13.2)):
        arrow(ax, (start, 9), (end, 9), PURPLE, linestyle="--")
        text(ax, (start + end) / 2, 6.8, "· Wₕᵀ", PURPLE, size=10)
    text(ax, 4.2, 13.2, "state", MUTED, size=10)
    return ax.figure


def lstm_cell():
    """The line of c is scaled and added to; gates look at x and h."""
    ax = canvas(42, 26)
    text(ax, 1.5, 21, "c")
    arrow(ax, (2.8, 21), (9.4, 21))
    circle(ax, 11, 21, "×")
    arrow(ax, (12.6, 21), (20.4, 21))
    circle(ax, 22, 21, "+")
    path(ax, [(23.6, 21), (33, 21), (39.5, 21)])
    text(ax, 40.8, 21, "c′")
    circle(ax, 22, 15, "×")
    arrow(ax, (22, 16.6), (22, 19.4))
    gates = ((11, "f", "σ"), (18, "i", "σ"), (26, "g", "tanh"), (33, "o", "σ"))
    for x, name, kind in gates:
        colour = BLUE if kind == "σ" else PURPLE
        box(ax, x, 8.5, f"{name}: {kind}", width=6.6, colour=colour)
        arrow(ax, (x, 3), (x, 6.3))
    ax.plot([4.2, 33], [3, 3], color=MUTED, lw=1.4, ls="-")
    text(ax, 2.1, 3, "x, h")
    arrow(ax, (11, 10.7), (11, 19.4))
    path(ax, [(18, 10.7), (18, 15), (20.4, 15)])
    path(ax, [(26, 10.7), (26, 15), (23.6, 15)])
    circle(ax, 36.5, 15, "×", colour=GREEN)
    path(ax, [(33, 10.7), (33, 15), (34.9, 15)])
    arrow(ax, (36.5, 21), (36.5, 16.6))
    text(ax, 33.4, 18.6, "tanh", size=10)
    arrow(ax, (38.1, 15), (39.8, 15))
    text(ax, 40.8, 15, "h′")
    text(ax, 11, 24, "forget", MUTED, size=10)
    text(ax, 22, 24, "add", MUTED, size=10)
    return ax.figure
