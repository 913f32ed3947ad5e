"""A page that passed runs again when anything that it depends on changed."""

import pytest

from runnable_pages.memory import fingerprint, sources
from runnable_pages.pages import read_page
from runnable_pages.project import Project
from tests.runnable_pages.conftest import Sample

PAGE = "docs/lessons/sums.md"
CODE = "snippets/lessons/sums.py"
USE = "    total = add(1.5, 2)\n"


@pytest.fixture
def sample(pytester):
    """The sample, in a folder where pytest can be run within pytest."""
    return Sample(pytester.path)


@pytest.fixture
def outcomes(pytester):
    """Run pytest on the sample: how many passed, failed, were skipped."""

    def run(*arguments):
        done = pytester.runpytest_inprocess(
            "-p", "no:hypothesispytest", *arguments
        )
        found = done.parseoutcomes()
        told = f"{found.get('skipped')} of those skipped passed, and nothing"
        assert (told in done.stdout.str()) == ("skipped" in found)
        return found

    return run


def test_a_page_that_passed_is_not_run_again(sample, outcomes):
    """Its blocks are skipped, and its sync check isn't."""
    first, second = outcomes(), outcomes()
    assert "skipped" not in first
    assert second["skipped"] == 2
    assert second["passed"] == first["passed"] - 2


@pytest.mark.parametrize(
    "arguments", [[PAGE], [f"{PAGE}::use"], ["--cache-clear"]]
)
def test_a_page_runs_again_on_demand(sample, outcomes, arguments):
    """Named, or when told to forget."""
    outcomes()
    assert "skipped" not in outcomes(*arguments)


# (file, old, new, what then happens to the two blocks)
CHANGES = {
    "digit of the output": (
        "snippets/lessons/sums.out",
        "3.5",
        "3.6",
        "failed",
    ),
    "operator": (CODE, "a + b", "a - b", "failed"),
    "prose": (PAGE, "First", "At first", "passed"),
    "settings": ("mkdocs.yml", "Sample", "Example", "passed"),
    "module that the snippet imports": (
        "snippets/ten.py",
        "10",
        "11",
        "failed",
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_page_runs_again_once_its_sources_changed(sample, outcomes, change):
    """Page, code, output, settings, and what the code imports."""
    sample.write("snippets/ten.py", "TEN = 10\n")
    sample.edit(
        CODE,
        USE,
        "    from snippets.ten import TEN\n\n    assert TEN == 10\n" + USE,
    )
    outcomes(PAGE)
    file, old, new, outcome = CHANGES[change]
    assert outcomes("docs")["skipped"] == 2
    sample.edit(file, old, new)
    found = outcomes("docs")
    assert "skipped" not in found
    assert ("failed" in found) == (outcome == "failed")


def test_what_failed_or_ran_in_part_is_not_remembered(sample, outcomes):
    """Each block must have passed."""
    assert outcomes("-k", "add")["passed"] == 1
    assert "skipped" not in outcomes()
    sample.edit("snippets/lessons/sums.out", "3.5", "3.6")
    assert outcomes()["failed"] == 1
    assert outcomes()["failed"] == 1


def test_recording_is_no_test(sample, outcomes):
    """What was recorded has yet to pass, and is recorded again at will."""
    outcomes("--record")
    assert "skipped" not in outcomes()
    assert "skipped" not in outcomes("--record")


def test_a_page_depends_on_its_figures(sample):
    """A figure on disk is a source, one of another page isn't."""
    sample.write("docs/lessons/sums/use.svg", "<svg/>")
    sample.write("docs/lessons/other/use.svg", "<svg/>")
    project = Project.load(sample.root)
    found = sources(project, read_page(project, sample.root / PAGE))
    names = {path.relative_to(sample.root).as_posix() for path in found}
    assert "docs/lessons/sums/use.svg" in names
    assert "docs/lessons/other/use.svg" not in names


def test_a_command_depends_on_every_snippet(sample):
    """What it calls can't be seen."""
    sample.write(
        "snippets/a.sh", "# --8<-- [start:a]\ntrue\n# --8<-- [end:a]\n"
    )
    sample.write(PAGE, '```bash\n--8<-- "a.sh:a"\n```\n')
    project = Project.load(sample.root)
    found = sources(project, read_page(project, sample.root / PAGE))
    assert sample.root / CODE in found


def test_a_fingerprint_is_of_places_and_contents(tmp_path):
    """The same text in another place is another source."""
    a, b = tmp_path / "a", tmp_path / "b"
    prints = set()
    for first, second in (("1", "2"), ("2", "1"), ("1", "1")):
        a.write_text(first)
        b.write_text(second)
        prints |= {fingerprint([a, b]), fingerprint([a, b], "text")}
    assert len(prints) == 6
