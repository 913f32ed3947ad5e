"""Figures as deterministic SVG that carries what it shows.

A recorded figure holds, in its metadata, the texts and the data that were
drawn, and a hash of the rest of the file. So a later run can be held against
it by what the picture says and not by its pixels, and a file that was edited
by hand is noticed.
"""

import hashlib
import io
import json
import math
import re

# Light colour -> dark colour, series first. The dark picture is the light one
# with these swapped: one run draws both.
PALETTE = {
    "#1f5fbf": "#7fb2ff",
    "#8f065b": "#e54b9c",
    "#7d9927": "#c5e900",
    "#ba7893": "#ffadb0",
    "#4e5604": "#838d01",
    "#1f2430": "#e4e8ef",  # ink
    "#5b6475": "#a1abbb",  # muted ink
    "#dfe3ea": "#353c49",  # grid
}
SERIES = list(PALETTE)[:5]
INK, MUTED, GRID = list(PALETTE)[5:]
DASHES = ["-", "--", "-.", ":", (0, (8, 3))]
KEPT = 48  # numbers kept of each artist's coordinates
FIELD = re.compile(r"<metadata>.*?</metadata>", re.S)
DATA = re.compile(r"<desc>(?P<json>.*?)</desc>", re.S)


def use_style():
    """Set matplotlib's defaults for every figure of a page."""
    import matplotlib
    from cycler import cycler

    matplotlib.rcParams.update(
        {
            "figure.figsize": (6.4, 3.6),
            "figure.constrained_layout.use": True,
            "figure.facecolor": "none",
            "axes.facecolor": "none",
            "savefig.facecolor": "none",
            "axes.prop_cycle": cycler(color=SERIES) + cycler(linestyle=DASHES),
            "axes.edgecolor": MUTED,
            "axes.labelcolor": INK,
            "axes.titlecolor": INK,
            "axes.titlesize": 12,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "axes.axisbelow": True,
            "grid.color": GRID,
            "grid.linewidth": 0.8,
            "text.color": INK,
            "xtick.color": MUTED,
            "ytick.color": MUTED,
            "font.size": 12,
            "legend.fontsize": 11,
            "font.sans-serif": ["DejaVu Sans", "Verdana", "sans-serif"],
            "legend.frameon": False,
            "lines.linewidth": 1.8,
            "image.cmap": "cividis",
            "svg.fonttype": "none",
            "svg.hashsalt": "runnable-pages",
        }
    )


def describe(figure):
    """What the figure shows, as plain data: texts, and numbers per artist."""
    _tidy(figure)
    figure.draw_without_rendering()
    return {
        "texts": _shown(figure.texts) + _shown([figure._suptitle]),
        "axes": [_axes(ax) for ax in figure.axes],
    }


def _tidy(figure):
    """No grid on images; eight ticks an axis, where nobody chose them."""
    from matplotlib.ticker import AutoLocator

    for ax in figure.axes:
        if ax.images:
            ax.grid(visible=False)
        for axis in (ax.xaxis, ax.yaxis):
            if isinstance(axis.get_major_locator(), AutoLocator):
                axis.get_major_locator().set_params(nbins=7)


def _shown(texts):
    return [t.get_text() for t in texts if t and t.get_text().strip()]


def _axes(ax):
    legend = ax.get_legend()
    legends = _shown(legend.get_texts()) if legend else []
    return {
        "title": _shown([ax.title, ax._left_title, ax._right_title]),
        "labels": [ax.get_xlabel(), ax.get_ylabel()],
        "ticks": [_ticks(ax.xaxis), _ticks(ax.yaxis)],
        "legend": legends,
        "texts": _shown(ax.texts),
        "scales": [ax.get_xscale(), ax.get_yscale()],
        "limits": [_rounded(ax.get_xlim()), _rounded(ax.get_ylim())],
        "artists": [
            *map(_line, ax.lines),
            *map(_collection, ax.collections),
            *map(_patch, ax.patches),
            *map(_image, ax.images),
        ],
    }


def _ticks(axis):
    low, high = sorted(axis.get_view_interval())
    return [
        tick.label1.get_text()
        for tick in axis.get_major_ticks()
        if low <= tick.get_loc() <= high and tick.label1.get_visible()
    ]


def _line(line):
    x, y = line.get_xdata(orig=False), line.get_ydata(orig=False)
    return _artist("line", line.get_label(), x, y)


def _collection(collection):
    offsets = _plain(collection.get_offsets())
    if len(offsets) > 1 or not collection.get_paths():
        x, y = [p[0] for p in offsets], [p[1] for p in offsets]
        artist = _artist("points", collection.get_label(), x, y)
    else:
        points = [
            v for p in collection.get_paths() for v in _plain(p.vertices)
        ]
        x, y = [p[0] for p in points], [p[1] for p in points]
        artist = _artist("area", collection.get_label(), x, y)
    values = collection.get_array()
    if values is not None:
        artist["values"] = _thin(_plain(values.ravel()))
    return artist


def _patch(patch):
    path = patch.get_patch_transform().transform_path(patch.get_path())
    points = _plain(path.vertices)
    return _artist("patch", patch.get_label(), *zip(*points, strict=True))


def _image(image):
    values = image.get_array()
    rows, columns = values.shape[:2]
    step_y, step_x = max(1, rows // 7), max(1, columns // 7)
    artist = _artist("image", image.get_label(), *_extent(image))
    artist["shape"] = [rows, columns]
    thinned = values[::step_y, ::step_x].ravel()
    artist["values"] = _rounded(_plain(thinned)[: KEPT * 2])
    return artist


def _extent(image):
    left, right, bottom, top = image.get_extent()
    return [left, right], [bottom, top]


def _artist(kind, label, x, y):
    x, y = _plain(x), _plain(y)
    # matplotlib numbers artists without a label by itself.
    label = "" if str(label).startswith("_") else str(label)
    return {
        "kind": kind,
        "label": label,
        "count": len(x),
        "x": _thin(x),
        "y": _thin(y),
    }


def _plain(values):
    return values.tolist() if hasattr(values, "tolist") else list(values)


def _thin(values):
    """A few dozen numbers that stand for all: the extremes of each stretch.

    Every number is kept where there are few. Else each stretch gives its
    smallest and largest, so that a peak can't hide between kept points.
    """
    if len(values) <= KEPT:
        return _rounded(values)
    stretches = KEPT // 2
    edges = [len(values) * i // stretches for i in range(stretches + 1)]
    kept = []
    for start, end in zip(edges[:-1], edges[1:], strict=True):
        finite = [v for v in values[start:end] if v is not None and v == v]
        kept += [min(finite), max(finite)] if finite else [None, None]
    return _rounded(kept)


def _rounded(values):
    """Six digits; what JSON can't hold (NaN) becomes None."""
    return [
        None
        if value is None or not math.isfinite(value)
        else float(f"{float(value):.6g}")
        for value in values
    ]


# Files


def save(figure):
    """The figure as two SVG texts, light and dark."""
    description = describe(figure)
    # Laying out again would move everything by a hair.
    figure.set_layout_engine("none")
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    svg = _short(buffer.getvalue())
    return tuple(_with_metadata(s, description) for s in (svg, _darken(svg)))


def _short(svg):
    """Coordinates to a hundredth of a point, and no spaces at line ends."""
    svg = re.sub(
        r' (?:d|x|y|width|height|transform)="[^"]*"',
        lambda attribute: re.sub(r"(\.\d\d)\d+", r"\1", attribute[0]),
        svg,
    )
    return re.sub(r"[ \t]+\n", "\n", svg)


def _darken(svg):
    return re.sub(
        "|".join(PALETTE), lambda match: PALETTE[match[0]], svg, flags=re.I
    )


def _with_metadata(svg, description):
    body = FIELD.sub("<metadata/>", svg, count=1)
    data = {"sha256": _digest(body), **description}
    # The texts may hold anything, and this stands in XML.
    text = json.dumps(data, separators=(",", ":"))
    text = text.replace("&", "\\u0026").replace("<", "\\u003c")
    text = text.replace(">", "\\u003e")
    field = f"<metadata><desc>{text}</desc></metadata>"
    return body.replace("<metadata/>", field, 1)


def _digest(body):
    return hashlib.sha256(body.encode()).hexdigest()


def read(svg):
    """What a recorded figure says it shows. Raises ValueError if it can't."""
    match = DATA.search(svg)
    if match is None:
        raise ValueError("holds no data of its run; it was not recorded")
    data = json.loads(match["json"])
    body = FIELD.sub("<metadata/>", svg, count=1)
    if data.pop("sha256", None) != _digest(body):
        raise ValueError("was changed by hand since it was recorded")
    return data


# Comparing


def compare(recorded, drawn, tolerance):
    """How a drawn figure differs from the recorded one: a list of reasons."""
    reasons = _differ("texts", recorded["texts"], drawn["texts"])
    if len(recorded["axes"]) != len(drawn["axes"]):
        return [
            f"{len(recorded['axes'])} axes recorded, "
            f"{len(drawn['axes'])} drawn"
        ]
    for old, new in zip(recorded["axes"], drawn["axes"], strict=True):
        reasons += _compare_axes(old, new, tolerance)
    return reasons


def _differ(what, old, new):
    return [f"{what}: {old} recorded, {new} drawn"] if old != new else []


def _compare_axes(old, new, tolerance):
    reasons = []
    for key in ("title", "labels", "ticks", "legend", "texts", "scales"):
        reasons += _differ(key, old[key], new[key])
    ranges = [
        _Range(limits, scale, tolerance)
        for limits, scale in zip(old["limits"], old["scales"], strict=True)
    ]
    for name, axis, limits in zip("xy", ranges, new["limits"], strict=True):
        moved = axis.moved(axis.limits, limits)
        if moved:
            reasons.append(f"limits of {name}: {moved}")
    kinds = [[a["kind"] for a in side["artists"]] for side in (old, new)]
    if kinds[0] != kinds[1]:
        return [*reasons, *_differ("artists", *kinds)]
    for number, (left, right) in enumerate(
        zip(old["artists"], new["artists"], strict=True), 1
    ):
        reasons += _compare_artist(number, left, right, ranges, tolerance)
    return reasons


def _compare_artist(number, old, new, ranges, tolerance):
    name = (
        f"{old['kind']} {old['label']!r}"
        if old["label"]
        else (f"{old['kind']} {number}")
    )
    if old["count"] != new["count"] or old["label"] != new["label"]:
        return [
            f"{name}: {old['count']} points recorded, {new['count']} drawn "
            f"as {new['label']!r}"
        ]
    reasons = _differ(f"{name}, shape", old.get("shape"), new.get("shape"))
    for coordinate, axis in zip("xy", ranges, strict=True):
        moved = axis.moved(old[coordinate], new[coordinate])
        if moved:
            reasons.append(f"{name}, {coordinate}: {moved}")
    if "values" in old:
        finite = [v for v in old["values"] if v is not None] or [0, 1]
        values = _Range([min(finite), max(finite)], "linear", tolerance)
        moved = values.moved(old["values"], new.get("values", []))
        if moved:
            reasons.append(f"{name}, values: {moved}")
    return reasons


class _Range:
    """An axis: its limits and scale, and how far along it two values are."""

    def __init__(self, limits, scale, tolerance):
        self.limits, self.scale, self.tolerance = limits, scale, tolerance

    def _along(self, value):
        """Where the value stands: 0 at the first limit, 1 at the last."""
        low, high = (self._scaled(limit) for limit in self.limits)
        share = (self._scaled(value) - low) / ((high - low) or 1.0)
        # What is out of sight may differ as it likes.
        return min(max(share, -0.1), 1.1)

    def _scaled(self, value):
        if self.scale == "log":
            return math.log10(value) if value > 0 else -math.inf
        return value

    def moved(self, old, new):
        """What moved further than the tolerance, or an empty text."""
        if len(old) != len(new):
            return f"{len(old)} numbers recorded, {len(new)} drawn"
        worst, at = 0.0, None
        for index, (left, right) in enumerate(zip(old, new, strict=True)):
            if left is None or right is None:
                distance = 0.0 if left == right else math.inf
            else:
                distance = abs(self._along(left) - self._along(right))
            if distance > worst:
                worst, at = distance, index
        if worst <= self.tolerance:
            return ""
        return (
            f"{old[at]} recorded, {new[at]} drawn at number {at + 1} of "
            f"{len(old)}: moved by {worst:.1%} of the range, the tolerance "
            f"is {self.tolerance:.1%}"
        )
