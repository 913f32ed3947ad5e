"""A recorded result can't outlive the code that it measured."""

import json

import pytest

from runnable_pages.check import check
from runnable_pages.project import Project
from runnable_pages.results import write_results

CODE = "snippets/lessons/sums.py"
FILE = "snippets/lessons/sums.results.json"


@pytest.fixture
def recorded(sample):
    """The sample with a results file that its snippet reads."""
    sample.edit(CODE, "a + b", 'a + b  # see "sums.results.json"')
    write_results(
        Project.load(sample.root),
        "lessons/sums.results.json",
        ["add"],
        "make bench",
        ["numpy"],
        {"seconds": 1.5},
    )
    return sample


def test_a_results_file_says_where_it_comes_from(recorded):
    """Command, date, device, versions, code and results are in it."""
    data = json.loads(recorded.read(FILE))
    assert data["command"] == "make bench"
    assert data["results"] == {"seconds": 1.5}
    assert len(data["code"]["add"]) == 64
    assert {"python", "numpy"} == set(data["versions"])
    assert "cores" in data["device"]
    assert check(recorded.root) == []


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        (CODE, "a + b ", "b + a ", 'section "add" of sums.py has changed'),
        (CODE, "sums.results.json", "x.json", "does not read these results"),
        (FILE, '"command"', '"cmd"', "lacks command"),
        (FILE, "{", "[", "is no results file"),
    ],
)
def test_a_stale_result_is_told(recorded, file, old, new, message):
    """The message names the section, and the command that measures again."""
    recorded.edit(file, old, new)
    told = [str(m) for m in check(recorded.root) if m.path == FILE]
    assert len(told) == 1
    assert message in told[0]


def test_a_change_elsewhere_leaves_results_alone(recorded):
    """Only what was measured counts."""
    recorded.edit(CODE, "total = add(1.5, 2)", "total = add(2, 1.5)")
    assert [m for m in check(recorded.root) if m.path == FILE] == []


def test_a_result_may_be_of_another_snippets_code(recorded):
    """A section of a second file is named with it, and held as well."""
    other = "snippets/lessons/other.py"
    recorded.write(
        other, "# --8<-- [start:one]\nONE = 1\n# --8<-- [end:one]\n"
    )
    write_results(
        Project.load(recorded.root),
        "lessons/sums.results.json",
        ["lessons/other.py:one"],
        "make bench",
        ["numpy"],
        {"seconds": 1.5},
    )
    told = [str(m) for m in check(recorded.root) if m.path == FILE]
    assert told == []
    recorded.edit(other, "ONE = 1", "ONE = 2")
    told = [str(m) for m in check(recorded.root) if m.path == FILE]
    assert len(told) == 1
    assert 'section "one" of lessons/other.py has changed' in told[0]
