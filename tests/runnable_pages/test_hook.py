"""`mkdocs build` and `mkdocs serve` tell authors what pytest tells them."""

import json
import logging

import pytest
from mkdocs.commands.build import build
from mkdocs.config import load_config
from mkdocs.exceptions import Abort

import runnable_pages
from runnable_pages.project import Project
from runnable_pages.results import write_results

PAGE = "docs/lessons/sums.md"
HOOK = runnable_pages.__path__[0] + "/hook.py"


@pytest.fixture
def make(sample, caplog, monkeypatch):
    """Build the sample as `mkdocs build` or `serve` would; lines logged."""
    monkeypatch.chdir(sample.root)

    def make(command="build"):
        caplog.clear()
        config = load_config(str(sample.root / "mkdocs.yml"), hooks=[HOOK])
        with caplog.at_level(logging.WARNING, logger="mkdocs"):
            config.plugins.run_event("startup", command=command, dirty=False)
            build(config)
        return [record.getMessage() for record in caplog.records]

    return make


def test_a_right_project_builds_in_silence(sample, make):
    """No warning, and the page shows code and output."""
    assert make() == []
    html = sample.read("site/lessons/sums/index.html")
    assert "total 3.500 of 2 terms" in html


@pytest.mark.parametrize(
    ("file", "old", "new", "line"),
    [
        (PAGE, ":add", ":ad", PAGE + ':6: section "ad" is not in'),
        (PAGE, "sums.py:add", "sum.py:add", PAGE + ":6: there is no"),
        (PAGE, "Then", "Look:\n\n    x = 1\n\nThen", PAGE + ":11: code that"),
        (
            "snippets/lessons/sums.py",
            "    # --8<-- [end:use]\n",
            "",
            'snippets/lessons/sums.py:13: section "use" never ends',
        ),
        (
            PAGE,
            "Then",
            "It has:\n- one\n\nThen",
            PAGE + ":10: a list inside a paragraph",
        ),
        (
            PAGE,
            "Then",
            "::: tests.snippets.lessons.test_bad\n\nThen",
            "tests/snippets/lessons/test_bad.py:1: Python can't read it",
        ),
        (
            "mkdocs.yml",
            "  - lessons/sums.md\n",
            "",
            "The following pages exist in the docs directory, but are not",
        ),
    ],
)
def test_a_mistake_is_told_while_serving(sample, make, file, old, new, line):
    """The server survives it, logs the line once, and recovers."""
    sample.write("tests/snippets/lessons/test_bad.py", "def test_(:")
    right = sample.read(file)
    sample.edit(file, old, new)
    told = make("serve")
    assert len([t for t in told if t.startswith(line)]) == 1, told
    if file != "mkdocs.yml":
        html = sample.read("site/lessons/sums/index.html")
        assert line.partition(":")[2][:14].split(" ")[0] in html
        assert "admonition failure" in html
    sample.write(file, right)
    assert make("serve") == []


def test_a_build_with_mistakes_is_not_published(sample, make):
    """`mkdocs build` ends with the number of mistakes, and no traceback."""
    sample.edit(PAGE, ":add", ":ad")
    with pytest.raises(
        Abort, match="mistakes in pages or snippets, listed above: 1"
    ):
        make()


def test_a_page_that_is_no_text_survives_serving(sample, make):
    """The line is told in the log and on the page."""
    sample.write(PAGE, b"# Sums\n\xff\n")
    assert make("serve")[0].startswith(f"{PAGE}:2: byte 0xff is not UTF-8")
    html = sample.read("site/lessons/sums/index.html")
    assert "byte 0xff is not UTF-8" in html


def test_a_page_says_when_and_where_its_results_were_recorded(sample, make):
    """From the results file itself, at the page's end."""
    code = "snippets/lessons/sums.py"
    sample.edit(code, "a + b", 'a + b  # see "sums.results.json"')
    path = write_results(
        Project.load(sample.root),
        "lessons/sums.results.json",
        ["add"],
        "make <bench>",
        ["numpy"],
        {"seconds": 1.5},
    )
    data = json.loads(path.read_text("utf-8"))
    assert make() == []
    html = sample.read("site/lessons/sums/index.html")
    told = html.partition('<p class="recorded">')[2].partition("</p>")[0]
    assert "<code>make &lt;bench&gt;</code>" in told
    for value in (data["date"], data["device"], data["versions"]["numpy"]):
        assert value in told
