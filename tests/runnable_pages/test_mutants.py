"""`mutants` changes one thing at a time, and tells what no test noticed."""

import pytest

from runnable_pages.__main__ import main
from runnable_pages.mutants import NoLesson, count, mutants

CODE = '''\
"""A module; 1 + 1 here is text."""

LIMIT = 3


def inside(x, low=0):
    """Not a number: 2."""
    if x < low and not x:
        raise ValueError(f"{x + 1}: expected {low - 1}")
    return -x * 2 == x % 3


class Box:
    async def size(self, flag=True):
        return [i for i in self if i is not None or flag]


async def later(x):
    x += 1
    return "%s" % x


if __name__ == "__main__":
    print(1 + 1)
'''
TEST = '''\
"""Sums."""
from snippets.lessons.sums import add


def test_sum():
    """Two and nothing."""
    assert add(2, 0) == 2
'''


def test_each_operator_and_number_of_a_definition_is_changed_once():
    """And nothing else: no text, no error, no page."""
    found = {(line, what) for line, what, _ in mutants(CODE)}
    assert found == {
        (6, "0  ->  1"),
        (8, "x < low and (not x)  ->  x < low or not x"),
        (8, "x < low  ->  x <= low"),
        (8, "not x  ->  not not x"),
        (10, "-x * 2 == x % 3  ->  -x * 2 != x % 3"),
        (10, "-x * 2  ->  -x / 2"),
        (10, "-x  ->  +x"),
        (10, "2  ->  3"),
        (10, "x % 3  ->  x * 3"),
        (10, "3  ->  4"),
        (14, "True  ->  False"),
        (15, "i is not None or flag  ->  i is not None and flag"),
        (15, "i is not None  ->  i is None"),
        (19, "x += 1  ->  x -= 1"),
        (19, "1  ->  2"),
    }


def test_each_mutant_is_the_module_but_for_one_change():
    """They can be run, all differ, and none is the original."""
    sources = [source for *_, source in mutants(CODE)]
    assert len(set(sources)) == len(sources)
    for source in sources:
        names = {}
        exec(compile(source, "mutant", "exec"), names)
        assert names["LIMIT"] == 3


@pytest.fixture
def tested(sample):
    """The sample, whose test can't tell a sum from a difference."""
    sample.write("tests/__init__.py", "")
    sample.write("tests/snippets/__init__.py", "")
    sample.write("tests/snippets/lessons/test_sums.py", TEST)
    return sample


def test_a_mutant_that_no_test_notices_is_told(tested, monkeypatch, capsys):
    """With its file and line; the project itself stays as it is."""
    before = tested.read("snippets/lessons/sums.py")
    monkeypatch.chdir(tested.root)
    assert main(["mutants", "lessons/sums"]) == 0
    told = capsys.readouterr().out
    assert "1/1 SURVIVED: snippets/lessons/sums.py:6: a + b  ->  a - b" in told
    assert "lessons/sums: 0 of 1 noticed" in told
    assert "  line 6 survived: a + b  ->  a - b" in told
    assert tested.read("snippets/lessons/sums.py") == before


def test_a_mutant_that_a_test_notices_counts(tested):
    """As noticed; so does one that never ends."""
    tested.edit(
        "tests/snippets/lessons/test_sums.py",
        "add(2, 0) == 2",
        "add(2, 1) == 3",
    )
    told = []
    assert count(tested.root, "lessons/sums", tell=told.append) == (1, [])
    assert "noticed" in told[0]


def test_no_more_than_asked_are_tried(tested):
    """The same ones for the same seed."""
    tested.edit(
        "snippets/lessons/sums.py",
        "return a + b",
        "return a + b * 1 / 1 - 0",
    )
    first, second = [], []
    for told in (first, second):
        count(tested.root, "lessons/sums", most=2, tell=told.append)
    assert len(first) == 2
    assert first == second


def test_no_lesson_and_failing_tests_are_told(tested, monkeypatch, capsys):
    """Before anything is changed."""
    monkeypatch.chdir(tested.root)
    assert main(["mutants", "lessons/sum"]) == 2
    assert "there is no snippets/lessons/sum.py" in capsys.readouterr().err
    tested.edit("tests/snippets/lessons/test_sums.py", "== 2", "== 5")
    with pytest.raises(NoLesson, match="fails as it is"):
        count(tested.root, "lessons/sums")
