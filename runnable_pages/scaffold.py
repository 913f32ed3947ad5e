"""`make lesson NAME=...`: the files of a new lesson, which pass as made."""

import re

from runnable_pages.project import Project

NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
MARK = "--8<-- "

SNIPPET = '''\
"""{title}: say in one line what the lesson builds."""

# {mark}[start:mean]
import numpy as np


def mean(values):
    """The mean of values, (n,). Raises ValueError when there are none."""
    values = np.asarray(values, dtype=float)
    if values.size == 0:
        raise ValueError("values is empty; give at least one number")
    return values.sum() / values.size


# {mark}[end:mean]


if __name__ == "__main__":
    # {mark}[start:run]
    rng = np.random.default_rng(0)
    print(f"mean of a thousand numbers {{mean(rng.normal(size=1000)):.4f}}")
    # {mark}[end:run]
'''
OUTPUT = """\
{mark}[start:run]
mean of a thousand numbers -0.0483
{mark}[end:run]
"""
TEST = '''\
"""{title}."""

import numpy as np
import pytest

from snippets.{module} import mean


def test_the_mean_is_numpys():
    """For a hundred numbers, ours and the library's agree."""
    values = np.random.default_rng(1).normal(size=100)
    assert mean(values) == pytest.approx(values.mean(), rel=1e-12)


def test_no_numbers_have_no_mean():
    """An empty list is an error, and the message says what to give."""
    with pytest.raises(ValueError, match="at least one number"):
        mean([])
'''
PAGE = """\
---
title: {title}
description: Say in one sentence what the reader will be able to do.
tags: [{folder}]
---

# {title}

Two or three sentences: what you will be able to do, and why it matters.

## The idea

The maths, derived, with every symbol named: the mean of $n$ values is

$$
\\bar x = \\frac{{1}}{{n}} \\sum_{{i=1}}^{{n}} x_i .
$$

Say what to look for, then show it:

```python title="snippets/{file}.py"
{mark}"{file}.py:mean"
```

## On real data

Say what to watch. Then run it:

```python title="snippets/{file}.py"
{mark}"{file}.py:run"
```

<!--pytest-codeblocks:expected-output-->
```text title="Output"
{mark}"{file}.out:run"
```

Read the result for the reader: is that good?

## What the tests check

::: tests.snippets.{test_module}
"""


class LessonError(Exception):
    """A lesson that can't be made, and why."""


def make_lesson(root, name):
    """Write the files of lesson `section/name`; returns their paths.

    Raises LessonError for a wrong name, an unknown section, or a lesson
    that is there already.
    """
    project = Project.load(root)
    folder, _, last = name.strip("/").removesuffix(".md").rpartition("/")
    if not NAME.fullmatch(last) or not NAME.fullmatch(folder):
        raise LessonError(
            f"{name!r} is no lesson's name; write it as "
            "NAME=fundamentals/my-lesson, in a-z, 0-9 and -"
        )
    files = _files(folder, last)
    for path in files:
        if (project.root / path).exists():
            raise LessonError(f"{path} is there already; choose another name")
    nav = _with_page(project, f"{folder}/{last}.md")
    for path, text in files.items():
        (project.root / path).parent.mkdir(parents=True, exist_ok=True)
        (project.root / path).write_text(text, "utf-8")
    (project.root / "mkdocs.yml").write_text(nav, "utf-8")
    return [*files, "mkdocs.yml (the navigation)"]


def _files(folder, last):
    python = last.replace("-", "_")
    words = {
        "title": last.replace("-", " ").capitalize(),
        "folder": folder,
        "file": f"{folder}/{python}",
        "module": f"{folder}.{python}",
        "test_module": f"{folder}.test_{python}",
        "mark": MARK,
    }
    base = f"snippets/{folder}/{python}"
    return {
        f"docs/{folder}/{last}.md": PAGE.format(**words),
        f"{base}.py": SNIPPET.format(**words),
        f"{base}.out": OUTPUT.format(**words),
        f"tests/snippets/{folder}/test_{python}.py": TEST.format(**words),
    }


def _with_page(project, page):
    """mkdocs.yml with the page after its section's last one."""
    text = (project.root / "mkdocs.yml").read_text("utf-8")
    lines = text.split("\n")
    folder = page.partition("/")[0]
    entry = re.compile(rf"^(\s*- )(.*: )?{folder}/[\w/.-]+\.md\s*$")
    places = [n for n, line in enumerate(lines) if entry.match(line)]
    if not places:
        raise LessonError(
            f"the navigation in mkdocs.yml has no section {folder}/; "
            "add one, or choose another"
        )
    indent = entry.match(lines[places[-1]])[1]
    lines.insert(places[-1] + 1, f"{indent}{page}")
    return "\n".join(lines)
