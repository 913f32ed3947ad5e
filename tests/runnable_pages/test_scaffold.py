"""A new lesson passes as made, and a wrong name is told."""

import pytest

from runnable_pages.check import check
from runnable_pages.scaffold import LessonError, make_lesson
from tests.runnable_pages.conftest import Sample


@pytest.fixture
def sample(pytester):
    """The sample, in a folder where pytest can be run within pytest."""
    return Sample(pytester.path)


def test_a_new_lesson_passes_as_made(sample, pytester):
    """Page, snippet, output, test and navigation fit together."""
    sample.write("pytest.ini", "[pytest]\npythonpath = .\n")
    made = make_lesson(sample.root, "lessons/new-idea")
    assert "snippets/lessons/new_idea.py" in made
    assert "  - lessons/new-idea.md\n" in sample.read("mkdocs.yml")
    # The test's docstrings need mkdocstrings, which is the site's matter.
    assert check(sample.root) == []
    done = pytester.runpytest_subprocess("docs", "tests")
    done.assert_outcomes(passed=9)


@pytest.mark.parametrize(
    "name",
    [
        *("Idea", "lessons/New", "../x/y", "x", "a b/c"),
        *("lessons/class", "lessons/2nd-try"),
    ],
)
def test_a_wrong_name_is_told(sample, name):
    """The message shows how a name is written."""
    with pytest.raises(LessonError, match="NAME=fundamentals/my-lesson"):
        make_lesson(sample.root, name)


def test_a_new_lesson_is_listed_in_the_reference(sample):
    """Where there is one: a page of functions, and entries for it."""
    sample.write("docs/reference/api/sums.md", "# Sums: functions\n")
    sample.write("docs/reference/index.md", "- [Sums](api/sums.md): `sums`\n")
    sample.edit(
        "mkdocs.yml",
        "  - lessons/sums.md\n",
        "  - lessons/sums.md\n  - reference/index.md\n"
        "  - R:\n      - Sums: reference/api/sums.md\n",
    )
    make_lesson(sample.root, "lessons/new-idea")
    assert check(sample.root) == []
    assert "      - New idea: reference/api/new-idea.md\n" in sample.read(
        "mkdocs.yml"
    )
    assert (
        "- [New idea](api/new-idea.md): `snippets.lessons.new_idea`\n"
        in sample.read("docs/reference/index.md")
    )
    assert "::: snippets.lessons.new_idea" in sample.read(
        "docs/reference/api/new-idea.md"
    )


def test_a_section_without_lessons_gets_its_packages(sample):
    """Its folders can be imported from, as those of other sections."""
    sample.write("docs/new/index.md", "# New\n")
    sample.edit(
        "mkdocs.yml", "  - index.md\n", "  - index.md\n  - new/index.md\n"
    )
    made = make_lesson(sample.root, "new/idea")
    assert "snippets/new/__init__.py" in made
    assert "tests/snippets/new/__init__.py" in made
    assert check(sample.root) == []


def test_nothing_is_overwritten(sample):
    """A lesson that is there stays as it is."""
    before = sample.read("docs/lessons/sums.md")
    with pytest.raises(LessonError, match="is there already"):
        make_lesson(sample.root, "lessons/sums")
    assert sample.read("docs/lessons/sums.md") == before


def test_an_unknown_section_is_told(sample):
    """The navigation needs to know where the page goes; nothing is made."""
    with pytest.raises(LessonError, match="has no section other/"):
        make_lesson(sample.root, "other/new")
    assert not (sample.root / "docs/other").exists()
