"""What drawings are made of: boxes, arrows, texts and grids of cells.

Places are in tenths of an inch, x to the right and y upwards. A picture is
at most 42 wide, so that its texts of 11 points are read on a phone.
"""

import matplotlib.pyplot as plt
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle

INK, MUTED, GRID = "#1f2430", "#5b6475", "#dfe3ea"
BLUE, PURPLE, GREEN = "#1f5fbf", "#8f065b", "#7d9927"


def canvas(width, height):
    """Axes without a frame, width by height tenths of an inch."""
    figure = plt.figure(figsize=(width / 10, height / 10), layout="none")
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set(xlim=(0, width), ylim=(0, height))
    ax.set_axis_off()
    return ax


def text(ax, x, y, words, colour=INK, size=11, **options):
    """Words centred on a point."""
    options = {"ha": "center", "va": "center", **options}
    ax.text(x, y, words, color=colour, fontsize=size, **options)


def box(ax, x, y, words="", width=6, height=4, colour=BLUE, **options):
    """A rounded box centred on a point, with words in it."""
    left, low = x - width / 2 + 0.4, y - height / 2 + 0.4
    style = {"facecolor": "none", "edgecolor": colour, "linewidth": 1.6}
    ax.add_patch(
        FancyBboxPatch(
            (left, low),
            width - 0.8,
            height - 0.8,
            boxstyle="round,pad=0.4",
            **{**style, **options},
        )
    )
    text(ax, x, y, words)


def circle(ax, x, y, words, radius=1.4, colour=INK):
    """A small circle with a sign in it, such as + or ×."""
    ax.add_patch(
        plt.Circle((x, y), radius, fill=False, edgecolor=colour, lw=1.4)
    )
    text(ax, x, y, words)


def arrow(ax, start, end, colour=MUTED, bend=0.0, **options):
    """An arrow from one point to another; bend curves it."""
    options = {"arrowstyle": "-|>", "linewidth": 1.4, **options}
    ax.add_patch(
        FancyArrowPatch(
            start,
            end,
            shrinkA=0,
            shrinkB=0,
            mutation_scale=10,
            color=colour,
            connectionstyle=f"arc3,rad={bend}",
            **options,
        )
    )


def path(ax, points, colour=MUTED):
    """A line through points, with an arrow's head at the last."""
    for start, end in zip(points[:-2], points[1:-1], strict=True):
        ax.plot(*zip(start, end, strict=True), color=colour, lw=1.4, ls="-")
    arrow(ax, points[-2], points[-1], colour)


def cells(ax, x, y, rows, size=3.0, colour=MUTED, filled=None, numbers=None):
    """A grid of square cells whose upper left corner is (x, y).

    rows is (n_rows, n_columns); filled colours the cells for which it is
    true; numbers, of the same shape, stands in them.
    """
    for row in range(rows[0]):
        for column in range(rows[1]):
            left, low = x + column * size, y - (row + 1) * size
            is_filled = filled is not None and filled(row, column)
            ax.add_patch(
                Rectangle(
                    (left, low),
                    size,
                    size,
                    facecolor=colour if is_filled else "none",
                    edgecolor=colour,
                    alpha=0.3 if is_filled else 1,
                    linewidth=0.9,
                )
            )
            if is_filled:  # the edge at full strength
                ax.add_patch(
                    Rectangle(
                        (left, low), size, size, fill=False, ec=colour, lw=0.9
                    )
                )
            if numbers is not None:
                words = str(numbers[row][column]).replace("-", "−")
                text(ax, left + size / 2, low + size / 2, words)
