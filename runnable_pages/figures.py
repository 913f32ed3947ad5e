"""Figures as SVG, and whether two of them show the same.

A recorded figure is compared with the run's as readers see it, element by
element: structure, texts, styles, and the numbers of paths, places and
pictures within a tolerance. So whatever is visible is compared.
"""

import base64
import functools
import io
import re
import tomllib
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

SVG = "{http://www.w3.org/2000/svg}"
HREF = "{http://www.w3.org/1999/xlink}href"
NUMBER = re.compile(r"-?\d+\.?\d*(?:e-?\d+)?")
COLOUR = re.compile(r"#[0-9a-f]{6}\b")
# Attributes that hold places, in points.
PLACES = ("d", "x", "y", "width", "height", "transform", "points")
MOST_REASONS = 5


@functools.cache
def settings(root=None):
    """[tool.runnable_pages] of the pyproject.toml in `root`, or from here."""
    path = Path(root or Path.cwd()) / "pyproject.toml"
    toml = tomllib.loads(path.read_text("utf-8")) if path.is_file() else {}
    return toml.get("tool", {}).get("runnable_pages", {})


def use_style(root=None):
    """Set matplotlib's defaults for every figure of a page."""
    import matplotlib
    from matplotlib import style

    own = settings(root).get("style")
    if own:
        style.use(Path(root or Path.cwd()) / own)
    matplotlib.rcParams.update(
        {"svg.fonttype": "none", "svg.hashsalt": "runnable-pages"}
    )


def describe(figure):
    """The figure as SVG, the same text for the same drawing."""
    _tidy(figure)
    figure.draw_without_rendering()
    # Laying out again would move everything by a hair.
    figure.set_layout_engine("none")
    buffer = io.StringIO()
    figure.savefig(
        buffer, format="svg", metadata={"Date": None, "Creator": None}
    )
    return _short(buffer.getvalue())


def darken(svg, root=None):
    """The same picture in the dark colours of pyproject.toml."""
    dark = settings(root).get("dark", {})
    if not dark:
        return svg
    return re.sub(
        "|".join(dark), lambda m: dark[m[0].lower()], svg, flags=re.I
    )


def _tidy(figure):
    """No grid on images; eight ticks an axis, where nobody chose them.

    Curves with a label get it as their name, by which they are told.
    """
    from matplotlib.ticker import AutoLocator

    for ax in figure.axes:
        if ax.images:
            ax.grid(visible=False)
        for axis in (ax.xaxis, ax.yaxis):
            if isinstance(axis.get_major_locator(), AutoLocator):
                axis.get_major_locator().set_params(nbins=7)
        for artist in (*ax.lines, *ax.collections, *ax.images):
            label = str(artist.get_label())
            if not label.startswith("_") and artist.get_gid() is None:
                artist.set_gid(f"curve {label}")


def _short(svg):
    """Coordinates to a hundredth of a point, and no spaces at line ends."""
    svg = re.sub(
        r' (?:d|x|y|width|height|transform)="[^"]*"',
        lambda attribute: re.sub(r"(\.\d\d)\d+", r"\1", attribute[0]),
        svg,
    )
    return re.sub(r"[ \t]+\n", "\n", svg)


# Comparing


def compare(recorded, drawn, tolerance):
    """How a drawn figure differs from the recorded one: a list of reasons.

    Both are SVG texts. The tolerance is a share of the axes' size, of a
    colour's range and, for markers, of their own size.
    """
    try:
        sides = [_Svg(text) for text in (recorded, drawn)]
    except ElementTree.ParseError as error:
        return [f"can't be read as SVG ({error})"]
    comparison = _Comparison(*sides, tolerance)
    comparison.walk(*(side.root for side in sides), "figure", None)
    return comparison.reasons[:MOST_REASONS]


class _Svg:
    def __init__(self, text):
        self.root = ElementTree.fromstring(text)
        self.by_id = {e.get("id"): e for e in self.root.iter() if e.get("id")}


class _Comparison:
    """Walks two trees side by side and collects what differs."""

    def __init__(self, old, new, tolerance):
        self.old, self.new, self.tolerance = old, new, tolerance
        self.reasons = []

    def tell(self, name, text):
        self.reasons.append(f"{name}: {text}")

    def walk(self, old, new, name, scale):
        """Compare two elements and what they hold.

        name is how the place is told. scale is the (width, height) of the
        axes around, in points; None outside of axes.
        """
        name = _name(old, name)
        if name.startswith("axes") and old.get("id", "").startswith("axes"):
            scale = _size(next(old.iter(SVG + "path"), None)) or scale
        scale = scale or _viewbox(self.old.root)
        kinds = [(e.tag, (e.text or "").strip()) for e in (old, new)]
        if kinds[0][0] != kinds[1][0]:
            tags = [tag.replace(SVG, "") for tag, _ in kinds]
            return self.tell(name, f"{tags[0]} recorded, {tags[1]} drawn")
        if kinds[0][1] != kinds[1][1]:
            self.tell(
                name, f"text {kinds[0][1]!r} recorded, {kinds[1][1]!r} drawn"
            )
        self.attributes(old, new, name, scale)
        if old.tag == SVG + "defs":
            return None  # compared where it is used
        children = [
            [c for c in e if c.tag != SVG + "metadata"] for e in (old, new)
        ]
        if len(children[0]) != len(children[1]):
            counts = [len(side) for side in children]
            return self.tell(
                name, f"{counts[0]} parts recorded, {counts[1]} drawn"
            )
        for pair in zip(*children, strict=True):
            self.walk(*pair, name, scale)

    def attributes(self, old, new, name, scale):
        for key in sorted(old.attrib.keys() | new.attrib.keys()):
            pair = old.get(key), new.get(key)
            if pair[0] == pair[1] and key not in (HREF, "clip-path"):
                continue
            short = key.rpartition("}")[2]
            if None in pair:
                self.tell(name, f"{short} {pair[0]} recorded, {pair[1]} drawn")
            elif key in (HREF, "clip-path"):
                self.references(*pair, name, scale)
            elif key in PLACES:
                if moved := _moved(*pair, scale, self.tolerance):
                    self.tell(name, moved)
            elif key == "style":
                if other := _other_style(*pair, self.tolerance):
                    self.tell(name, other)
            elif key != "id" or "curve" in pair[0] + pair[1]:
                self.tell(name, f"{short} {pair[0]} recorded, {pair[1]} drawn")

    def references(self, old, new, name, scale):
        """What the two refer to: pictures, markers, frames of clips."""
        if old.startswith("data:"):
            if other := _other_picture(old, new, self.tolerance):
                self.tell(name, other)
            return
        parts = [re.sub(r"url\(|[#)]", "", value) for value in (old, new)]
        parts = [
            s.by_id.get(p)
            for s, p in zip((self.old, self.new), parts, strict=True)
        ]
        if None in parts:
            self.tell(name, f"{old} recorded, {new} drawn")
            return
        if _bare(parts[0]) == _bare(parts[1]):
            return
        own = _size(parts[0]) or scale
        # A marker is held to its own size; an area to that of its axes.
        is_area = own[0] > scale[0] / 5 or own[1] > scale[1] / 5
        self.walk(*parts, name, scale if is_area else (max(own), max(own)))


def _bare(element):
    """The element and what it holds, ids aside."""
    return [
        (e.tag, {k: v for k, v in e.attrib.items() if k != "id"}, e.text)
        for e in element.iter()
    ]


def _name(element, name):
    """How the place of an element is told: its axes, or its curve."""
    own = element.get("id") or ""
    if own.startswith("curve "):
        return own
    if own.startswith("axes_"):
        return own.replace("_", " ")
    kinds = "matplotlib.axis|xtick|ytick|legend|text|line2d|patch"
    if re.match(kinds, own) and not name.startswith("curve"):
        axes = name.split(",")[0]
        return f"{axes}, {own.replace('_', ' ').replace('matplotlib.', '')}"
    return name


def _viewbox(root):
    return tuple(float(v) for v in root.get("viewBox").split()[2:])


def _size(element):
    """The width and height of a path, or of the frame of a clip."""
    if element is None:
        return None
    path = (
        element
        if element.get("d")
        else next(element.iter(SVG + "path"), element)
    )
    points = _points(path.get("d") or "")
    if len(points) < 2:
        return None
    return tuple(max(float(s), 1.0) for s in np.ptp(points, axis=0))


def _points(path):
    """The points of a path, (n, 2); those of NaN are left out by SVG."""
    numbers = np.array([float(v) for v in NUMBER.findall(path)])
    return numbers[: len(numbers) // 2 * 2].reshape(-1, 2)


def _moved(old, new, scale, tolerance):
    """How far places moved, where that is more than the tolerance."""
    kinds = [NUMBER.sub("0", text) for text in (old, new)]
    numbers = [
        np.array([float(v) for v in NUMBER.findall(text)])
        for text in (old, new)
    ]
    along = np.resize(scale, len(numbers[0]))
    if "scale" in old or "rotate" in old:
        along = np.full(len(numbers[0]), max(scale))
    pieces = [text.count("M") for text in (old, new)]
    if pieces[0] != pieces[1]:
        return f"{pieces[0]} pieces of a curve recorded, {pieces[1]} drawn"
    if kinds[0] == kinds[1]:
        shares = np.abs(numbers[0] - numbers[1]) / along
        worst = float(shares.max(initial=0.0))
        at = int(shares.argmax()) // 2 + 1 if len(shares) else 0
        where = f" at point {at} of {(len(shares) + 1) // 2}"
        if worst <= tolerance and (change := _resized(old, new)) > tolerance:
            return f"a marker changed by {change:.1%} of its size"
    else:
        worst, where = _apart(_points(old), _points(new), scale), ""
    if worst <= tolerance:
        return ""
    return (
        f"moved by {worst:.1%} of the range{where}; the tolerance is "
        f"{tolerance:.1%}"
    )


def _resized(old, new):
    """How far a closed shape of six or more points changed, in its sizes.

    A marker or an arrow: on the scale of the axes it may hide.
    """
    shapes = [_points(text) for text in (old, new)]
    if not old.rstrip().endswith("z") or len(shapes[0]) < 6:
        return 0.0
    size = max(float(np.ptp(shapes[0], axis=0).max()), 1.0)
    old, new = (s - s.mean(axis=0) for s in shapes)
    return float(np.abs(old - new).max()) / size


def _apart(old, new, scale):
    """The largest distance of a point from the other curve, both ways.

    For curves that have not the same number of points: matplotlib leaves
    out points that it can do without, or that are out of sight.
    """
    if min(len(old), len(new)) < 2:
        return np.inf
    curves = [_dense(points / scale) for points in (old, new)]
    distances = np.abs(curves[0][:, None] - curves[1][None]).max(axis=2)
    return float(max(distances.min(axis=0).max(), distances.min(axis=1).max()))


def _dense(points, n=800):
    """n points along a curve, at equal distances."""
    steps = np.r_[0.0, np.cumsum(np.abs(np.diff(points, axis=0)).sum(axis=1))]
    along = np.linspace(0, steps[-1], n)
    return np.stack([np.interp(along, steps, points[:, i]) for i in (0, 1)], 1)


def _other_style(old, new, tolerance):
    """The first part of a style that differs."""
    pairs = [
        dict(
            part.strip().split(":", 1)
            for part in text.split(";")
            if part.strip()
        )
        for text in (old, new)
    ]
    for key in sorted(pairs[0].keys() | pairs[1].keys()):
        left, right = (side.get(key, "").strip() for side in pairs)
        if left != right and not _close_styles(key, left, right, tolerance):
            return f"{key} {left or 'none'} recorded, {right or 'none'} drawn"
    return ""


def _close_styles(key, left, right, tolerance):
    if COLOUR.fullmatch(left) and COLOUR.fullmatch(right):
        channels = [
            np.array([int(c[i : i + 2], 16) for i in (1, 3, 5)])
            for c in (left, right)
        ]
        return np.abs(channels[0] - channels[1]).max() <= 255 * tolerance
    if key.endswith("opacity") and left and right:
        return abs(float(left) - float(right)) <= tolerance
    return False


def _other_picture(old, new, tolerance):
    """How two pictures inside a figure differ, pixel by pixel."""
    from matplotlib.image import imread

    pictures = [
        imread(io.BytesIO(base64.b64decode(data.partition(",")[2])))
        for data in (old, new)
    ]
    shapes = [picture.shape[:2] for picture in pictures]
    if shapes[0] != shapes[1]:
        return f"a picture of {shapes[0]} pixels recorded, {shapes[1]} drawn"
    old, new = (
        p[..., :3] * p[..., 3:] if p.shape[-1] == 4 else p for p in pictures
    )
    change = (
        np.abs(old - new).max(axis=-1) if old.ndim == 3 else np.abs(old - new)
    )
    if change.max() <= tolerance:
        return ""
    row, column = np.unravel_index(change.argmax(), change.shape)
    return (
        f"pixel ({row}, {column}) of {shapes[0]} differs by "
        f"{change.max():.1%} of a colour's range; the tolerance is "
        f"{tolerance:.1%}"
    )
