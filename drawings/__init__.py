"""Schematic pictures: a module a lesson, a function a picture.

`drawings/architectures/cnn.py` has a function `stride`, which returns the
figure that `docs/architectures/cnn/stride.svg` holds. `make drawings` writes
all of them, light and dark; a test draws them anew and compares.
"""

import importlib
from pathlib import Path

from runnable_pages import figures

ROOT = Path(__file__).parents[1]


def pictures(lesson):
    """The functions of a lesson's module that draw, by picture name."""
    module = importlib.import_module(
        "drawings." + lesson.replace("/", ".").replace("-", "_")
    )
    return {
        name.replace("_", "-"): draw
        for name, draw in vars(module).items()
        if callable(draw)
        and getattr(draw, "__module__", None) == module.__name__
        and not name.startswith("_")
    }


def lessons():
    """The lessons that have drawings, as section/lesson."""
    folder = Path(__file__).parent
    return [
        str(path.relative_to(folder).with_suffix("")).replace("_", "-")
        for path in sorted(folder.glob("*/*.py"))
        if path.stem != "__init__"
    ]


def drawn(draw):
    """The picture as SVG texts, light and dark."""
    import matplotlib.pyplot as plt

    figures.use_style(ROOT)
    figure = draw()
    light = figures.describe(figure)
    plt.close(figure)
    return light, figures.darken(light, ROOT)


def paths(lesson, name):
    """Where a picture stands, light and dark."""
    folder = ROOT / "docs" / lesson
    return folder / f"{name}.svg", folder / f"{name}-dark.svg"
