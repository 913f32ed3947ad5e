"""The matrices of attention, with their shapes."""

from drawings.shapes import BLUE, GREEN, MUTED, PURPLE, canvas, cells, text


def shapes():
    """Queries times keys, mask and softmax, weights times values."""
    ax = canvas(42, 29)
    t, d, size = 4, 3, 2.2

    def grid(x, top, rows, colour, name, shape, filled=lambda i, j: True):
        cells(ax, x, top, rows, size, colour, filled)
        middle = x + rows[1] * size / 2
        text(ax, middle, top + 1.5, name)
        text(ax, middle, top - rows[0] * size - 1.4, shape, MUTED, 10)

    def sign(x, y, words):
        text(ax, x, y, words, size=13)

    grid(1, 25.5, (t, d), BLUE, "Q", "t × d")
    sign(9.6, 21.1, "·")
    grid(11.6, 24.4, (d, t), BLUE, "Kᵀ", "d × t")
    sign(22.6, 21.1, "=")
    grid(25, 25.5, (t, t), PURPLE, "scores", "t × t")
    text(ax, 38.2, 22.8, "÷ √d,", size=11)
    text(ax, 38.2, 20.8, "+ mask,", size=11)
    text(ax, 38.2, 18.8, "softmax", size=11)
    low = 11.5
    grid(1, low, (t, t), PURPLE, "weights A", "t × t", lambda i, j: j <= i)
    sign(11.6, low - 4.4, "·")
    grid(13.6, low, (t, d), BLUE, "V", "t × d")
    sign(22.6, low - 4.4, "=")
    grid(25, low, (t, d), GREEN, "outputs", "t × d")
    return ax.figure
