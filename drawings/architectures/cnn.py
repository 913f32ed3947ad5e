"""A kernel on its grid, with stride and padding."""

from matplotlib.patches import Rectangle

from drawings.shapes import (
    BLUE,
    GREEN,
    MUTED,
    PURPLE,
    canvas,
    cells,
    text,
)


def kernel():
    """One window, the kernel, and the number that comes out of them."""
    image = [[1, 0, 2, 0], [0, 3, 1, 0], [2, 1, 0, 1], [0, 0, 1, 2]]
    weights = [[1, 0], [0, -1]]
    products = [
        [
            sum(
                image[i + u][j + v] * weights[u][v]
                for u in (0, 1)
                for v in (0, 1)
            )
            for j in range(3)
        ]
        for i in range(3)
    ]
    ax = canvas(42, 17.5)
    cells(ax, 1, 14, (4, 4), numbers=image)
    cells(ax, 4, 11, (2, 2), colour=BLUE, filled=lambda i, j: True)
    cells(ax, 18, 11, (2, 2), colour=PURPLE, numbers=weights)
    cells(ax, 30, 12.5, (3, 3), numbers=products)
    cells(ax, 33, 9.5, (1, 1), colour=GREEN, filled=lambda i, j: True)
    text(ax, 15.5, 8, "∗", size=16)
    text(ax, 27, 8, "=", size=16)
    for x, words in ((7, "image"), (21, "kernel"), (34.5, "output")):
        text(ax, x, 16, words, MUTED)
    text(ax, 21, 1, "3·1 + 1·0 + 1·0 + 0·(−1) = 3")
    return ax.figure


def stride():
    """Which pixels a kernel of three meets, by stride and padding."""
    ax = canvas(42, 27)
    for x, step, pad, size in ((1, 1, 0, 5), (23, 2, 1, 5)):
        side = size + 2 * pad
        cell = 2.6 if pad else 3.0
        top = 23
        cells(
            ax,
            x,
            top,
            (side, side),
            cell,
            filled=lambda i, j, p=pad, n=size: (
                not (p <= i < p + n and p <= j < p + n)
            ),
        )
        for at, colour in ((0, BLUE), (step, PURPLE)):
            shift = 0.15 if at else -0.15  # so that both edges are seen
            ax.add_patch(
                Rectangle(
                    (x + at * cell + shift, top - 3 * cell + shift),
                    3 * cell,
                    3 * cell,
                    fill=False,
                    edgecolor=colour,
                    linewidth=2.4,
                    linestyle="-" if at == 0 else "--",
                )
            )
        out = (size + 2 * pad - 3) // step + 1
        middle = x + side * cell / 2
        text(ax, middle, 25, f"stride {step}, padding {pad}")
        text(ax, middle, 3.2, f"{size}×{size} in, {out}×{out} out", MUTED)
    text(ax, 21, 0.9, "solid: first window, dashed: the next", MUTED, size=10)
    return ax.figure
