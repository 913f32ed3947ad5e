"""What a page depends on, and how it is told from what it was."""

from pathlib import Path

from runnable_pages.memory import fingerprint, sources
from runnable_pages.pages import read_page
from runnable_pages.project import Project

PAGE = "docs/lessons/sums.md"
CODE = "snippets/lessons/sums.py"
TESTS = """\
from snippets.a import A

def test_right():
    assert A

def test_wrong():
    assert not A
"""


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


def test_a_behaviour_test_runs_again_when_what_it_imports_changes(pytester):
    """It is skipped when nothing changed, unless it is named or failed."""
    conftest = Path(__file__).parents[1] / "conftest.py"
    for name, text in {
        "pyproject.toml": '[tool.pytest.ini_options]\npythonpath = ["."]\n',
        "snippets/a.py": "A = 1\n",
        "tests/conftest.py": conftest.read_text(),
        "tests/snippets/test_a.py": TESTS,
    }.items():
        (pytester.path / name).parent.mkdir(parents=True, exist_ok=True)
        (pytester.path / name).write_text(text)

    def outcomes(*arguments):
        done = pytester.runpytest_subprocess(*arguments)
        return done.parseoutcomes()

    assert outcomes() == {"passed": 1, "failed": 1}
    assert outcomes() == {"skipped": 1, "failed": 1}
    assert outcomes("tests/snippets/test_a.py") == {"passed": 1, "failed": 1}
    (pytester.path / "snippets/a.py").write_text("A = 2\n")
    assert outcomes() == {"passed": 1, "failed": 1}
