"""pytest collects pages, compares what they do, and records on demand."""

import re

import matplotlib
import pytest

from tests.runnable_pages.conftest import Sample

PAGE = "docs/lessons/sums.md"
CODE = "snippets/lessons/sums.py"
OUT = "snippets/lessons/sums.out"
FIGURE = (
    "\n![Two lines](sums/use.svg#only-light)\n"
    "![Two lines](sums/use-dark.svg#only-dark)\n"
)
# pytester has a home of its own, where matplotlib would list all fonts anew.
FONTS = matplotlib.get_cachedir()
# Plugins that cost a second a run and have no part in these.
QUICK = ["-p", "no:hypothesispytest"]
PLOT = """    import matplotlib.pyplot as plt

    fig, ax = plt.subplots()
    ax.plot([1, 2, 3], [1, 4, 9], label="squares")
    ax.plot([1, 2, 3], [1, 8, 27], label="cubes")
    ax.set_xlabel("n")
    ax.legend()
    plt.show()
    # --8<-- [end:use]
"""


@pytest.fixture
def sample(pytester, monkeypatch):
    """The sample, in a folder where pytest can be run within pytest."""
    monkeypatch.setenv("MPLCONFIGDIR", FONTS)
    return Sample(pytester.path)


@pytest.fixture
def run(pytester):
    """Run pytest on the sample, as an author would: (status, text)."""

    def run(*arguments):
        done = pytester.runpytest_inprocess(
            "-p", "no:cacheprovider", *QUICK, *arguments
        )
        return done.ret, done.stdout.str() + done.stderr.str()

    return run


@pytest.fixture
def drawing(sample, run):
    """The sample with a figure, recorded."""
    sample.edit(CODE, "    # --8<-- [end:use]\n", PLOT)
    sample.write(PAGE, sample.read(PAGE) + FIGURE)
    status, told = run("--record", PAGE)
    assert status == 0, told
    return sample


def test_blocks_are_items_of_their_page(sample, run):
    """Items are named by page and section, and pass where all is right."""
    status, told = run("-v")
    assert status == 0, told
    for item in ("sync", "add", "use"):
        assert f"{PAGE}::{item} PASSED" in told


# name: (file, old, new, what pytest must say)
BAD = {
    "other number": (CODE, "1.5, 2", "1.6, 2",
        r"line 1: 3.500 shown, 3.600 printed \(2.86% apart"),
    "other text": (CODE, "total {", "sum {", r"line 1: the text differs"),
    "other count": (CODE, "of 2", "of 3", r"line 1: 2 shown, 3 printed"),
    "another line": (CODE, 'print(f"', 'print(0)\n    print(f"',
        r"1 lines shown, 2 printed"),
    "prints nothing": (CODE, 'print(f"total {total:.3f} of 2 terms")', "pass",
        r"shows output, but prints nothing"),
    "output not shown": (CODE, "    return a + b", "    return a + b\n\n\nadd(1, 2)\n",
        r"runs when the file is imported"),
    "digit of the record": (OUT, "3.500", "3.600", r"3.600 shown, 3.500 printed"),
    "word of the record": (OUT, "terms", "term", r"the text differs"),
    "broken operator": (CODE, "a + b", "a - b", r"3.500 shown, -0.500"),
    "name of a section": (CODE, "[start:use]", "[start:using]",
        r'section "use" is not in snippets/lessons/sums.py; it has: add'),
    "code typed in": (PAGE, '--8<-- "lessons/sums.py:add"', "pass", r":6: code that no section backs"),
    "config": ("mkdocs.yml", "  - lessons/sums.md\n", "", r"sums.md:1: is not in the navigation"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_difference_fails_and_is_told(sample, run, name):
    """Page, line, snippet and section are named, and the cure."""
    file, old, new, message = BAD[name]
    sample.edit(file, old, new)
    status, told = run()
    assert status == 1
    assert re.search(message, told), told
    assert "INTERNALERROR" not in told
    assert "Traceback" not in told


def test_a_printing_block_needs_its_output(sample, run):
    """What readers would see has to be on the page."""
    text = sample.read(PAGE)
    sample.write(PAGE, text[: text.index("<!--")])
    _, told = run(f"{PAGE}::use")
    assert "prints, but the page shows no output" in told


def test_what_comes_after_a_failure_is_not_reached(sample, run):
    """The second block doesn't fail with nonsense of its own."""
    sample.edit(CODE, "def add", "1 / 0\n\n\ndef add")
    _, told = run()
    assert 'not reached, since "add" (line 5) failed' in told
    assert "ZeroDivisionError" in told
    assert "NameError" not in told


def test_options_select_as_ever(sample, run, pytester):
    """-k, -x, --lf, --junitxml and paths work on pages."""
    assert "1 passed" in run("-k", "use")[1]
    assert "1 passed" in run(f"{PAGE}::use")[1]
    assert "3 passed" in run(PAGE)[1]
    status, _ = run("--junitxml=report.xml")
    assert status == 0
    assert 'name="use"' in sample.read("report.xml")
    sample.edit(OUT, "3.500", "3.600")
    assert "1 failed" in run("-x")[1]
    pytester.runpytest_inprocess()
    done = pytester.runpytest_inprocess("--lf")
    done.assert_outcomes(failed=1)


def test_workers_share_the_pages_and_not_their_blocks(sample, pytester):
    """With -n, a page runs in one worker, and so once."""
    sample.page(*["1"] * 20)
    told = pytester.runpytest_subprocess("-n2", "-v", "docs").stdout.str()
    assert "22 passed" in told
    workers = re.findall(rf"\[(gw\d)\].* {PAGE}::b\d+", told)
    assert len(workers) == 20
    assert len(set(workers)) == 1


def test_recording_writes_the_output_and_says_so(sample, run):
    """--record makes the output file; again, it changes nothing."""
    (sample.root / OUT).unlink()
    status, told = run("--record", PAGE)
    assert status == 0, told
    assert f"made {OUT}" in told
    assert "total 3.500 of 2 terms" in sample.read(OUT)
    assert "nothing changed" in run("--record")[1]
    assert run()[0] == 0
    told = run("--record", "docs/index.md")[1]
    assert "nothing: no block passed" in told


# name: (what the block prints, what must be told)
UNSHOWABLE = {
    "indented": ('print("    layer")', "begins each line with a space"),
    "colours": (r'print("\x1b[32mgreen\x1b[0m")', "prints escape codes"),
    "fence": ('print("```")', "would end the output on the page"),
    "include": ("print(\"--8<-- 'x.py:y'\"[:5])", "take for an include"),
}


@pytest.mark.parametrize("name", UNSHOWABLE)
def test_an_output_that_a_page_cannot_show_is_not_recorded(sample, run, name):
    """It is told at once, and not as a difference that recording would mend."""
    code, message = UNSHOWABLE[name]
    if name == "include":
        code = 'print("8<" + "-")'
    sample.edit(CODE, 'print(f"total {total:.3f} of 2 terms")', code)
    before = sample.read(OUT)
    status, told = run("--record", PAGE)
    assert status == 1
    assert message in told
    assert sample.read(OUT) == before


def test_a_progress_bar_is_recorded_as_the_screen_shows_it(sample, run):
    """What a carriage return overwrote is gone, and the next run agrees."""
    bar = r"""print("\rstep 1", end=""); print("\rstep 2")"""
    sample.edit(CODE, 'print(f"total {total:.3f} of 2 terms")', bar)
    assert run("--record", PAGE)[0] == 0
    assert "\nstep 2\n" in sample.read(OUT)
    assert "step 1" not in sample.read(OUT)
    assert run(PAGE)[0] == 0


def test_what_differs_on_other_processors_is_not_recorded(sample, run):
    """The message names the block, the number, the arithmetic, the spread."""
    sample.edit(CODE, "add(1.5, 2)", "(__import__('os').environ.get("
        "'OMP_NUM_THREADS') == '2') + 1.5")  # fmt: skip
    before = sample.read(OUT)
    status, told = run("--record", PAGE)
    assert status == 1
    assert "sums.py:use: line 1: 1.500 plain, 2.500 two threads" in told
    assert "Nothing was recorded" in told
    assert sample.read(OUT) == before


def test_recording_a_failing_page_writes_nothing(sample, run):
    """A page that breaks keeps its old record."""
    before = sample.read(OUT)
    sample.edit(
        CODE,
        "total = add(1.5, 2)",
        "total = add(9, 9)\n    print(total)\n    1 / 0",
    )
    assert run("--record")[0] == 1
    assert sample.read(OUT) == before


def test_nothing_is_written_without_record(sample, run):
    """A plain run leaves the checkout as it was."""
    sample.edit(CODE, "1.5, 2", "1.6, 2")
    before = sorted(sample.root.rglob("*"))
    run()
    after = [p for p in sample.root.rglob("*") if "__pycache__" not in str(p)]
    assert sorted(after) == before


def test_a_figure_is_recorded_light_and_dark_and_compared(drawing, run):
    """Text stays text; both carry the data; a second run agrees."""
    light = drawing.read("docs/lessons/sums/use.svg")
    dark = drawing.read("docs/lessons/sums/use-dark.svg")
    assert ">squares</text>" in light
    assert "#1f77b4" in light
    assert "#aec7e8" in dark
    assert "#1f77b4" not in dark
    assert run()[0] == 0
    assert "nothing changed" in run("--record")[1]


MOVED = {
    "a point": (CODE, "[1, 4, 9]", "[1, 7, 9]", r"curve squares: moved by .* at point 2 of 3"),
    "a label": (CODE, '"n"', '"m"', r"axes 1, .*: text 'n' recorded, 'm' drawn"),
    "a legend": (CODE, '"cubes"', '"cubed"', r"text 'cubes' recorded, 'cubed' drawn"),
    "a curve more": (CODE, "    ax.legend()", "    ax.plot([1, 2], [3, 4])\n    ax.legend()", r"axes 1.*: \d+ parts recorded, \d+ drawn"),
    "a figure more": (CODE, "    plt.show()", "    plt.figure()\n    plt.show()", r"draws 2 figures, recorded are 1"),
    "a colour": (CODE, 'label="cubes"', 'label="cubes", color="#7d9927"', r"curve cubes: stroke #ff7f0e recorded, #7d9927 drawn"),
    "by hand": ("docs/lessons/sums/use.svg", "squares</text>", "square</text>", r"text 'square' recorded"),
    "dark by hand": ("docs/lessons/sums/use-dark.svg", "stroke: #aec7e8", "stroke: #aec7e9", r"use-dark.svg isn't the light figure in dark colours"),
    "no picture": ("docs/lessons/sums/use.svg", "<svg", "<sv", r"can't be read as SVG"),
}  # fmt: skip


@pytest.mark.parametrize("name", MOVED)
def test_a_figure_that_moved_fails(drawing, run, name):
    """The message names the file, the curve, and where it moved."""
    file, old, new, message = MOVED[name]
    drawing.edit(file, old, new)
    status, told = run(f"{PAGE}::use")
    assert status == 1
    assert re.search(message, told), told


def test_a_skipped_block_says_why(sample, run):
    """Its reason is pytest's; and a module that isn't there skips too."""
    fence = '```python title="snippets/lessons/sums.py"\n--8<-- "lessons/sums.py:use"\n```\n\n<!--pytest-codeblocks:expected-output-->'
    mark = '<!--pytest.mark.skip(reason="needs a cluster")-->\n'
    sample.edit(PAGE, fence, mark + fence)
    status, told = run("-rs")
    assert status == 0
    assert "needs a cluster" in told
    sample.edit(PAGE, mark, "<!--pytest-codeblocks:importorskip(no_such)-->\n")
    assert "no_such is not installed" in run("-rs")[1]


def test_a_tolerance_may_stand_above_its_block(sample, run):
    """A number a tenth away passes where the page allows it."""
    sample.edit(CODE, "1.5, 2", "1.8, 2")
    assert run()[0] == 1
    sample.edit(
        PAGE,
        "Then its use:\n",
        "Then its use:\n\n<!--runnable-pages:tolerance=0.1-->",
    )
    assert run()[0] == 0
