"""The graph of a computation with a ring in it."""

from drawings.shapes import BLUE, MUTED, PURPLE, arrow, box, canvas, text


def graph():
    """Values on the way there, upstream gradients on the way back."""
    ax = canvas(42, 25)
    places = {"x": (4, 19), "y": (4, 8), "h": (15, 13.5)}
    places |= {"s": (26.5, 19.5), "z": (37.5, 13.5)}
    formulas = {"h": "h = x·y", "s": "s = h + 1", "z": "z = h·s"}
    values = {"x": 2, "y": 3, "h": 6, "s": 7, "z": 42}
    gradients = {"x": "39", "y": "26", "h": "7 + 6 = 13", "s": "6", "z": "1"}
    turns = {"x": "4", "y": "4", "h": "3", "s": "2", "z": "1"}
    for start, end in (
        ((6.8, 18), (11, 15.5)),  # x to h
        ((6.8, 9), (11, 11.5)),  # y to h
        ((18.9, 15.5), (22, 18)),  # h to s
        ((18.9, 13), (33.5, 13)),  # h to z
        ((31, 18), (33.6, 15.5)),  # s to z
    ):
        arrow(ax, start, end)
    for name, (x, y) in places.items():
        width = 5 if name in "xy" else 8.6 if name == "s" else 7.4
        words = f"{formulas.get(name, name)}\n= {values[name]}"
        box(ax, x, y, words, width, 5, BLUE)
        text(ax, x, y - 4, gradients[name], PURPLE)
        text(ax, x, y + 3.6, turns[name], MUTED, size=10)
    text(ax, 21, 3, "blue boxes: values, from left to right", MUTED, size=10)
    words = "purple: gradients of z, in the order of the small numbers"
    text(ax, 21, 1, words, MUTED, size=10)
    return ax.figure
