"""Figures carry what they show, and say what moved."""

import matplotlib as mpl
import numpy as np
import pytest

mpl.use("agg")

from matplotlib import pyplot as plt

from runnable_pages import figures


@pytest.fixture
def draw():
    """A function that draws one of each kind, with changes on request."""
    with mpl.rc_context():
        figures.use_style()

        def draw(**change):
            data = {
                "line": np.exp(-np.arange(300) / 40),
                "bars": [3.0, 1.0, 2.0],
                "points": [1.0, 2.0, 3.0],
                "area": [1.0, 2.0, 1.0],
                "image": np.arange(12.0).reshape(3, 4),
                "title": "All",
                **change,
            }
            fig, axes = plt.subplots(1, 5)
            axes[0].semilogy(data["line"], label="decay <&>")
            axes[1].bar(["a", "b", "c"], data["bars"])
            axes[2].scatter([1, 2, 3], data["points"])
            axes[2].set_ylim(0, 4)
            axes[3].fill_between([0, 1, 2], 0, data["area"])
            axes[4].imshow(data["image"])
            fig.suptitle(data["title"])
            return fig

        yield draw
    plt.close("all")


def test_saving_twice_gives_the_same_file(draw):
    """The same drawing is the same text, to the byte."""
    assert figures.save(draw()) == figures.save(draw())


def test_a_saved_figure_reads_back_and_agrees(draw):
    """What is read from the file is what the drawing says of itself."""
    for svg in figures.save(draw()):
        read = figures.read(svg)
        assert figures.compare(read, figures.describe(draw()), 0.05) == []


def one_changed(values, index, by):
    values = np.array(values, dtype=float)
    values.flat[index] += by
    return values


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bars": [3.0, 1.4, 2.0]}, "patch 2, y"),
        ({"points": [1.0, 2.4, 3.0]}, "points 1, y"),
        ({"area": [1.0, 1.6, 1.0]}, "area"),
        (
            {"image": one_changed(np.arange(12.0).reshape(3, 4), 5, 2)},
            "values",
        ),
        ({"title": "Other"}, "texts"),
        ({"line": np.exp(-np.arange(300) / 44)}, "line 'decay <&>', y"),
        ({"line": np.exp(-np.arange(299) / 40)}, "299 drawn"),
        ({"bars": [3.0, 1.0, np.nan]}, "patch 3"),
    ],
)
def test_a_change_of_a_tenth_is_told(draw, change, message):
    """Each kind of artist is watched; the message names what moved."""
    recorded = figures.describe(draw())
    reasons = figures.compare(recorded, figures.describe(draw(**change)), 0.05)
    assert any(message in reason for reason in reasons), reasons


@pytest.mark.parametrize("index", [0, 1, 57, 150, 298, 299])
def test_one_point_of_a_long_curve_can_not_hide(draw, index):
    """A single spike between three hundred points is seen."""
    line = np.exp(-np.arange(300) / 40)
    recorded = figures.describe(draw(line=line))
    line = line.copy()
    line[index] *= 8 if index else 0.1
    assert figures.compare(recorded, figures.describe(draw(line=line)), 0.05)


def test_a_hair_is_no_change(draw):
    """Data that moved by a hundredth of the range pass."""
    recorded = figures.describe(draw())
    moved = draw(points=[1.01, 2.0, 3.0], bars=[3.0, 1.02, 2.0])
    assert figures.compare(recorded, figures.describe(moved), 0.05) == []


def test_any_edit_of_a_file_is_noticed(draw):
    """The file holds a hash of all but its data."""
    light, _ = figures.save(draw())
    edited = light.replace("stroke: #1f5fbf", "stroke: #1f5fbe", 1)
    with pytest.raises(ValueError, match="changed by hand"):
        figures.read(edited)


def test_the_dark_figure_has_no_light_colour(draw):
    """Each colour of the palette is swapped for its partner."""
    _, dark = figures.save(draw())
    assert not [c for c in figures.PALETTE if c in dark]
