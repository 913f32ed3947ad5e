"""Schematic pictures are what their scripts draw."""

import pytest

from drawings import ROOT, drawn, lessons, paths, pictures
from runnable_pages import figures

WANTED = [(lesson, name) for lesson in lessons() for name in pictures(lesson)]
PHONE = 358  # pixels of text column, at a width of 390


def test_there_are_drawings():
    assert WANTED


@pytest.mark.parametrize(("lesson", "name"), WANTED)
def test_a_drawing_is_what_its_script_draws(lesson, name):
    """Write them with make drawings."""
    for path, svg in zip(
        paths(lesson, name), drawn(pictures(lesson)[name]), strict=True
    ):
        assert figures.compare(path.read_text("utf-8"), svg, 0.01) == []


@pytest.mark.parametrize(("lesson", "name"), WANTED)
def test_a_drawing_stands_on_its_page(lesson, name):
    page = (ROOT / "docs" / f"{lesson}.md").read_text("utf-8")
    folder = lesson.partition("/")[2]
    assert f"{folder}/{name}.svg#only-light" in page


@pytest.mark.parametrize(("lesson", "name"), WANTED)
def test_a_drawing_is_readable_on_a_phone(lesson, name):
    """Texts of 10 points are at least 9 pixels high there."""
    import matplotlib.pyplot as plt

    figures.use_style(ROOT)
    figure = pictures(lesson)[name]()
    width = figure.get_figwidth() * 96
    sizes = [text.get_fontsize() for text in figure.findobj(plt.Text)]
    plt.close(figure)
    assert sizes
    assert min(sizes) * 96 / 72 * min(1, PHONE / width) >= 9
