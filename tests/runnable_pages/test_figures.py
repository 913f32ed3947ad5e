"""Whatever is visible in a figure is compared, and what moved is told."""

import matplotlib as mpl
import numpy as np
import pytest

mpl.use("agg")

from matplotlib import pyplot as plt

from runnable_pages import figures

rng = np.random.default_rng(0)
x = np.arange(5.0)
long = np.exp(-np.arange(300) / 40)
noise = rng.random((13, 13))
table = np.diag(np.arange(90.0, 100.0))
colours = rng.random((8, 8, 3))
grid = np.meshgrid(np.linspace(-1, 1, 9), np.linspace(-1, 1, 9))
bowl = grid[0] ** 2 + grid[1] ** 2
samples = [rng.normal(size=50), rng.normal(size=50)]


def changed(values, index, value):
    """The values with one replaced."""
    values = np.array(values, dtype=float)
    values[index] = value
    return values


def space(draw):
    """A drawing in three dimensions."""
    return lambda v: draw(plt.figure().add_subplot(projection="3d"), v)


def inset(values):
    ax = plt.subplots()[1]
    ax.plot(x, x)
    ax.inset_axes([0.6, 0.1, 0.3, 0.3]).plot(x, values)


def two_lines(styles):
    plt.plot(x, x, styles[0])
    plt.plot(x, -x, styles[1])


def bars_with_errors(spread):
    plt.bar(x, x + 5, yerr=spread)


def colour_bar(label):
    plt.imshow(noise)
    plt.colorbar(label=label)


def figure_legend(label):
    plt.plot(x, x, label="a")
    plt.gcf().legend([label])


def annotated(point):
    plt.plot(x, x)
    plt.annotate("min", point, (1, 3), arrowprops={})


def sized(size):
    plt.figure(figsize=size)
    plt.plot(x, x)


def limits(top):
    plt.plot(x, x)
    plt.ylim(0, top)


def scaled(scale):
    plt.plot(x + 1, (x + 1) ** 2)
    plt.yscale(scale)


# what changes visibly: (how it is drawn, before, after)
CHANGES = {
    "a point of a curve": (plt.plot, x, changed(x, 2, 3)),
    "one spike among 300 points": (plt.plot, long, changed(long, 150, 1)),
    "the first of 300 points": (plt.plot, long, changed(long, 0, 0.5)),
    "a gap in a curve": (plt.plot, x, changed(x, 2, np.nan)),
    "a tenth on a log axis": (plt.semilogy, long, long * 0.4),
    "a curve's colours": (two_lines, ("C0", "C1"), ("C1", "C0")),
    "dashes": (two_lines, ("b-", "r-"), ("b--", "r-")),
    "markers": (two_lines, ("bo", "ro"), ("b^", "ro")),
    "width of a line": (lambda w: plt.plot(x, lw=w), 1, 4),
    "transparency": (lambda a: plt.plot(x, alpha=a), 1, 0.4),
    "a curve not to be seen": (lambda v: plt.plot(x, visible=v), True, False),
    "a curve more": (lambda n: plt.plot(x, np.outer(x, range(1, n))), 3, 4),
    "what lies on top": (
        lambda z: (plt.plot(x, "b", zorder=z), plt.plot(x[::-1], "r")), 1, 3),
    "a bar": (lambda h: plt.bar(x, h), x + 1, changed(x + 1, 3, 1)),
    "a bar's hatch": (lambda h: plt.bar(x, x, hatch=h), None, "//"),
    "bars lying down": (lambda v: plt.barh(x, v), x + 1, x[::-1] + 1),
    "error bars": (bars_with_errors, 1, 3),
    "a histogram": (lambda n: plt.hist(samples[0], bins=n), 8, 9),
    "points": (lambda y: plt.scatter(x, y), x, changed(x, 1, 2)),
    "classes of points": (
        lambda c: plt.scatter(x, x, color=c), list("rgbky"), list("ykbgr")),
    "sizes of points": (
        lambda s: plt.scatter(x, x, s=s), 10 * x + 1, 10 * x[::-1] + 1),
    "values of points": (lambda c: plt.scatter(x, x, c=c), x, x[::-1]),
    "the last cell of a matrix": (
        lambda m: plt.imshow(m, vmin=0, vmax=99), table,
        changed(table, (9, 9), 0)),
    "rows of a picture": (
        lambda m: plt.imshow(m, vmin=0, vmax=1), noise,
        np.vstack([noise[:9], 1 - noise[9:]])),
    "a picture in colour": (
        plt.imshow, colours, np.vstack([colours[:5], 1 - colours[5:]])),
    "a colour map": (lambda c: plt.imshow(noise, cmap=c), "cividis", "gray"),
    "a colour's range": (lambda v: plt.imshow(noise, vmax=v), 1, 10),
    "a mesh": (plt.pcolormesh, noise, noise.T),
    "a colour bar's label": (colour_bar, "loss", "accuracy"),
    "arrows": (lambda s: plt.quiver(x, x, s + 0 * x, s + 0 * x), 1, -1),
    "arrows' lengths": (
        lambda s: plt.quiver(x, x, s, s, scale=30), x + 1, 2 * x + 2),
    "contours": (lambda z: plt.contour(z), bowl, bowl + grid[0]),
    "filled contours": (lambda z: plt.contourf(z), bowl, -bowl),
    "levels": (lambda n: plt.contour(bowl, levels=n), 4, 8),
    "a band": (lambda y: plt.fill_between(x, y, y + 1), x, x[::-1]),
    "violins": (plt.violinplot, samples, [samples[0] * 2, samples[1]]),
    "boxes": (plt.boxplot, samples, [samples[0] + 1, samples[1]]),
    "a pie": (plt.pie, [1, 2, 3], [2, 1, 3]),
    "steps": (lambda w: plt.step(x, x, where=w), "pre", "post"),
    "stems": (plt.stem, x + 1, changed(x + 1, 2, 5)),
    "polar": (lambda r: plt.polar(x, r), x + 1, x[::-1] + 1),
    "a curve in space": (space(lambda ax, z: ax.plot(x, x, z)), x, -x),
    "points in space": (
        space(lambda ax, z: ax.scatter(x, x, z)), x, x[::-1]),
    "a surface": (
        space(lambda ax, z: ax.plot_surface(*grid, z)), bowl, -bowl),
    "title": (lambda t: plt.title(t), "a", "b"),
    "label of an axis": (lambda t: plt.xlabel(t), "a", "b"),
    "names of ticks": (lambda t: plt.xticks([0, 1], t), "ab", "ac"),
    "a legend's place": (
        lambda p: (plt.plot(x, label="a"), plt.legend(loc=p)),
        "upper left", "lower right"),
    "a figure's legend": (figure_legend, "train", "test"),
    "text": (lambda t: plt.text(0.5, 0.5, t), "1.2", "1.3"),
    "where text stands": (lambda y: plt.text(0.5, y, "here"), 0.2, 0.8),
    "what an arrow points to": (annotated, (0, 0), (4, 4)),
    "a line across": (plt.axhline, 0.2, 0.8),
    "an area across": (lambda b: plt.axvspan(0.1, b), 0.4, 0.8),
    "the limits": (limits, 4, 8),
    "a log axis": (scaled, "linear", "log"),
    "an inset": (inset, x, x[::-1]),
    "a panel more": (lambda n: plt.subplots(1, n), 2, 3),
    "the size": (sized, (6.4, 3.6), (3, 8)),
    "a grid": (lambda v: (plt.plot(x), plt.grid(v)), True, False),
}  # fmt: skip


@pytest.fixture
def svg():
    """A function that draws, and gives the SVG."""
    with mpl.rc_context():
        figures.use_style()

        def svg(draw, value):
            draw(value)
            try:
                return figures.describe(plt.gcf())
            finally:
                plt.close("all")

        yield svg


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", CHANGES)
def test_a_visible_change_is_told_and_none_is_not(svg, name):
    """The same drawing agrees with itself, and a changed one doesn't."""
    draw, before, after = CHANGES[name]
    recorded = svg(draw, before)
    assert figures.compare(recorded, svg(draw, before), 0.05) == []
    assert figures.compare(recorded, svg(draw, after), 0.05) != []


def test_a_hair_is_no_change(svg):
    """What moved by a hundredth of the axes, or of a colour, passes."""
    pairs = [
        (plt.plot, x, changed(x, 2, 2.04)),
        (plt.pcolormesh, noise, changed(noise, (2, 2), noise[2, 2] + 0.01)),
        (plt.imshow, noise, changed(noise, (2, 2), noise[2, 2] + 0.01)),
        (lambda y: plt.fill_between(x, y, y + 1), x, x + 0.01),
        (lambda y: plt.scatter(x, y), x, changed(x, 2, 2.04)),
    ]
    for draw, before, after in pairs:
        pair = svg(draw, before), svg(draw, after)
        assert pair[0] != pair[1]
        assert figures.compare(*pair, 0.05) == []


def test_points_that_matplotlib_leaves_out_are_no_change(svg):
    """A parabola through 200 points, and through 300, looks the same."""
    pair = [
        svg(lambda x: plt.plot(x, x**2), np.linspace(0, 1, n))
        for n in (200, 300)
    ]
    assert pair[0] != pair[1]
    assert figures.compare(*pair, 0.01) == []
    curve = figures._apart(
        np.array([[0, 0], [5, 5], [10, 10.0]]),
        np.array([[0, 0], [10, 10.0]]),
        (10, 10),
    )
    assert curve == pytest.approx(0, abs=1e-9)


def test_what_moved_is_told_by_its_name(svg):
    """The label of the curve, how far it moved, and where."""
    named = [
        svg(lambda y: plt.plot(x, y, label="loss"), y)
        for y in (x, changed(x, 2, 3))
    ]
    [told] = figures.compare(*named, 0.05)
    assert told.startswith("curve loss: moved by 22")
    assert "at point 3 of 5; the tolerance is 5.0%" in told


def test_the_dark_figure_has_no_light_colour(svg):
    """Each colour of the palette is swapped for its partner."""
    dark = figures.darken(svg(plt.plot, x))
    palette = figures.settings()["dark"]
    assert len(palette) == 8
    assert not [c for c in palette if c in dark]
    assert palette["#1f5fbf"] in dark
