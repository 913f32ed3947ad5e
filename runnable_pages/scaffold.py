"""`make lesson NAME=...`: the files of a new lesson, which pass as made."""

import keyword
import re

from runnable_pages.project import Project

NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
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


# The page of its functions, where a project keeps such pages.
REFERENCE = "docs/reference/index.md"
FUNCTIONS = """\
---
title: "{title}: functions"
description: What the lesson defines, with arguments and results.
search:
  boost: 0.5
---

# {title}: functions

From [the lesson](../../{folder}/{last}.md).

::: snippets.{module}
    options:
      filters: ["!^_"]
      show_signature: true
      show_bases: true
      heading_level: 2
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
    written = NAME.fullmatch(last) and NAME.fullmatch(folder)
    if not written or keyword.iskeyword(last):
        raise LessonError(
            f"{name!r} is no lesson's name; write it as "
            "NAME=fundamentals/my-lesson, in a-z, 0-9 and -"
        )
    words = _words(folder, last)
    files = _files(words)
    lists = {"mkdocs.yml": _with_page(project, f"{folder}/{last}.md")}
    if (project.root / REFERENCE).is_file():
        functions = f"reference/api/{last}.md"
        files[f"docs/{functions}"] = FUNCTIONS.format(**words)
        lists |= _with_functions(project, lists["mkdocs.yml"], words)
    for path in files:
        if (project.root / path).exists():
            raise LessonError(f"{path} is there already; choose another name")
    for path, text in (files | lists).items():
        (project.root / path).parent.mkdir(parents=True, exist_ok=True)
        (project.root / path).write_text(text, "utf-8")
    return [*files, *(f"{path} (an entry)" for path in lists)]


def _words(folder, last):
    """What stands for the names in the templates."""
    python = last.replace("-", "_")
    return {
        "title": last.replace("-", " ").capitalize(),
        "folder": folder,
        "last": last,
        "file": f"{folder}/{python}",
        "module": f"{folder}.{python}",
        "test_module": f"{folder}.test_{python}",
        "mark": MARK,
    }


def _files(words):
    templates = {
        "docs/{folder}/{last}.md": PAGE,
        "snippets/{file}.py": SNIPPET,
        "snippets/{file}.out": OUTPUT,
        "tests/snippets/{folder}/{test}.py": TEST,
    }
    words = {**words, "test": words["test_module"].rpartition(".")[2]}
    return {
        path.format(**words): text.format(**words)
        for path, text in templates.items()
    }


def _with_functions(project, nav, words):
    """mkdocs.yml and the reference, with the page of functions listed."""
    index = (project.root / REFERENCE).read_text("utf-8")
    page = "reference/api/{last}.md".format(**words)
    return {
        "mkdocs.yml": _after_last(
            nav, r"\s*- .*reference/api/", "{title}: ".format(**words) + page
        ),
        REFERENCE: _after_last(
            index,
            r"- \[.*\]\(api/",
            "[{title}](api/{last}.md): `snippets.{module}`".format(**words),
        ),
    }


def _after_last(text, pattern, entry):
    """The text with an entry below the last line that begins so."""
    lines = text.split("\n")
    places = [n for n, line in enumerate(lines) if re.match(pattern, line)]
    if places:
        bullet = lines[places[-1]].partition("- ")[0] + "- "
        lines.insert(places[-1] + 1, bullet + entry)
    return "\n".join(lines)


def _with_page(project, page):
    """mkdocs.yml with the page after its section's last one."""
    text = (project.root / "mkdocs.yml").read_text("utf-8")
    folder = page.partition("/")[0]
    entry = rf"\s*- (.*: )?{folder}/[\w/.-]+\.md\s*$"
    if not re.search(f"^{entry}", text, re.M):
        raise LessonError(
            f"the navigation in mkdocs.yml has no section {folder}/; "
            "add one, or choose another"
        )
    return _after_last(text, entry, page)
