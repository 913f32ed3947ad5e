"""The stack of a GPT."""

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


def stack():
    """From ids to logits, with one block opened."""
    ax = canvas(42, 45)
    x = 12  # of the residual stream
    text(ax, x, 1.5, "ids")
    arrow(ax, (x, 3), (x, 4.6))
    box(ax, x, 6.8, "tokens + positions", width=20, colour=GREEN)
    box(ax, 22, 22.4, width=37, height=24, colour=MUTED, linestyle="--")
    text(ax, 36.8, 32.4, "× N", MUTED)
    for low, name, colour in (
        (11.5, "attention", PURPLE),
        (22.5, "MLP", BLUE),
    ):
        box(ax, 22, low + 3.2, "norm", width=8, height=3.6, colour=MUTED)
        box(ax, 33, low + 3.2, name, width=12, height=3.6, colour=colour)
        path(ax, [(x, low + 3.2), (16, low + 3.2), (17.6, low + 3.2)])
        arrow(ax, (26.2, low + 3.2), (26.8, low + 3.2))
        path(ax, [(33, low + 5.2), (33, low + 7.8), (x + 1.6, low + 7.8)])
        circle(ax, x, low + 7.8, "+")
    arrow(ax, (x, 9), (x, 17.7))
    arrow(ax, (x, 20.8), (x, 28.7))
    arrow(ax, (x, 31.8), (x, 36.2))
    box(ax, x, 38.3, "norm, head", width=14, colour=GREEN)
    arrow(ax, (x, 40.5), (x, 42))
    text(ax, x, 43.5, "logits")
    return ax.figure
