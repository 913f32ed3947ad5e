"""Every mistake that can be seen without running gets its own line."""

import re

import pytest

from runnable_pages.check import check

PAGE = "docs/lessons/sums.md"
CODE = "snippets/lessons/sums.py"
OUT = "snippets/lessons/sums.out"
ADD = '--8<-- "lessons/sums.py:add"'
FENCE = '```python title="snippets/lessons/sums.py"\n' + ADD + "\n```\n"
FIGURE = (
    "![Sums](sums/use.svg#only-light)\n![Sums](sums/use-dark.svg#only-dark)\n"
)

# name: (file, old text, new text, the message that must come)
EDITS = {
    # The include line
    "no section": (PAGE, ":add", ":ad",
        r':6: section "ad" is not in snippets/lessons/sums.py; it has: add, use'),
    "no file": (PAGE, "sums.py:add", "sum.py:add",
        r":6: there is no snippets/lessons/sum.py; did you mean lessons/sums.py\?"),
    "outside": (PAGE, "lessons/sums.py:add", "../docs/index.md:add",
        r":6: ../docs/index.md is outside snippets/; move it there"),
    "absolute": (PAGE, "lessons/sums.py:add", "/etc/passwd:add",
        r":6: /etc/passwd is outside snippets/"),
    "url": (PAGE, "lessons/sums.py:add", "https://x.org/sums.py:add",
        r":6: not an include that is known here"),
    "line range": (PAGE, ":add", ":4:6", r":6: lines by number break"),
    "whole file": (PAGE, "sums.py:add", "sums.py", r":6: a whole file is no block"),
    "trailing space": (PAGE, ':add"\n', ':add" \n', r":6: a space after the include"),
    "missing quote": (PAGE, ':add"', ":add", r':6: the include lacks a "'),
    "single quotes": (PAGE, ADD, ADD.replace('"', "'"), r':6: the include lacks a "'),
    "escaped": (PAGE, ADD, ";" + ADD, r":6: a ; before the include"),
    "upper case": (PAGE, ":add", ":Add", r":6: not an include that is known"),
    "two includes": (PAGE, ADD, ADD + "\n" + '--8<-- "lessons/sums.py:use"',
        r":6: code that no section backs: 'def add"),
    "typed beside": (PAGE, ADD, ADD + "\nprint(1)",
        r":6: code that no section backs: 'def add"),
    "block form": (PAGE, ADD, "--8<--\nlessons/sums.py:add\n--8<--",
        r":6: the block form names no section"),
    "in prose": (PAGE, "First", ADD + "\nFirst", r":2: a block is three lines: .* not ''"),
    # The fence
    "typed code": (PAGE, ADD, "print(1)",
        r":6: code that no section backs: 'print\(1\)'; put it into a section"),
    "typed output": (PAGE, '--8<-- "lessons/sums.out:use"', "total 3.5",
        r":17: code that no section backs: 'total 3.5'"),
    "other language": (PAGE, FENCE, FENCE + "\n```yaml\na: 1\n```\n",
        r":10: code that no section backs: 'a: 1'"),
    "no language": (PAGE, '```python title="snippets/lessons/sums.py"\n' + ADD,
        "```\n" + ADD, r":5: a block is three lines: ```python .or"),
    "wrong language": (PAGE, "```python", "```py",
        r":5: lessons/sums.py in a py fence is not run; write ```python"),
    "empty fence": (PAGE, ADD + "\n", "", r":11: an empty block"),
    "tildes": (PAGE, FENCE, FENCE.replace("```", "~~~"),
        r":5: a block is three lines: .* not '~~~python"),
    "four backticks": (PAGE, FENCE, FENCE.replace("```", "````"),
        r":5: a block is three lines: .* not '````python"),
    "unended fence": (PAGE, '```text title="Output"\n--8<-- "lessons/sums.out:use"\n```',
        '```text title="Output"\n--8<-- "lessons/sums.out:use"\n',
        r":16: the fence never ends"),
    "in a quote": (PAGE, FENCE, "".join(f"> {s}\n" for s in FENCE.splitlines()),
        r":6: not an include that is known here: '> --8<--"),
    "on a bullet": (PAGE, FENCE, "- " + FENCE.replace("\n", "\n  "),
        r":6: lessons/sums.py:add doesn't reach the page as code"),
    "in a comment": (PAGE, FENCE, "<!--\n" + FENCE + "-->\n",
        r":7: lessons/sums.py:add doesn't reach the page as code"),
    "one line": (PAGE, "First", "```print(1)```\nFirst",
        r":3: code between ``` on one line"),
    "indented code": (PAGE, "First", "Look:\n\n    print(1)\n\nFirst",
        r":5: code that no section backs: 'print\(1\)'"),
    "pre": (PAGE, "First", "<pre>print(1)</pre>\n\nFirst",
        r":3: code that no section backs: .*print\(1\)"),
    "fence too deep": (PAGE, FENCE, "Text.\n\n" + "".join(f"    {s}\n" for s in FENCE.splitlines()),
        r":\d+: code that no section backs"),
    # Marks
    "unknown mark": (PAGE, "<!--pytest-codeblocks:expected-output-->",
        "<!--pytest-codeblocks:expected_output-->",
        r":15: unknown mark '<!--pytest-codeblocks:expected_output-->', a typo\?"),
    "cont": (PAGE, FENCE, "<!--pytest-codeblocks:cont-->\n" + FENCE,
        r":5: unknown mark"),
    "skipfile": (PAGE, "# Sums", "<!--pytest-codeblocks:skipfile-->\n# Sums",
        r":1: unknown mark"),
    "skip without reason": (PAGE, FENCE, "<!--pytest.mark.skip-->\n" + FENCE,
        r":5: unknown mark '<!--pytest.mark.skip-->'"),
    "skip with empty reason": (PAGE, FENCE, '<!--pytest.mark.skip(reason=" ")-->\n' + FENCE,
        r":5: unknown mark"),
    "evaluated mark": (PAGE, FENCE, "<!--pytest.mark.skipif(exit(), reason='')-->\n" + FENCE,
        r":5: unknown mark"),
    "mark above no fence": (PAGE, "First", '<!--pytest.mark.skip(reason="x")-->\nFirst',
        r":3: .* stands above no block"),
    "output first": (PAGE, FENCE, "<!--pytest-codeblocks:expected-output-->\n" + FENCE,
        r":6: .* belongs above an output; drop it"),
    "two outputs": (PAGE, "```text", '```text\n--8<-- "lessons/sums.out:use"\n```\n\n'
        "<!--pytest-codeblocks:expected-output-->\n```text",
        r":\d+: here belongs the output lessons/sums.out:use of the block above, once"),
    "output of another": (PAGE, "sums.out:use", "sums.out:add", r":17: "),
    "output without mark": (PAGE, "<!--pytest-codeblocks:expected-output-->\n", "",
        r":15: output without a block"),
    # Order and use
    "twice": (PAGE, FENCE, FENCE + "\n" + FENCE, r':9: section "add" is on this page twice'),
    "section unused": (CODE, "# --8<-- [end:add]\n",
        "# --8<-- [end:add]\n\n# --8<-- [start:sub]\nSUB = 1\n# --8<-- [end:sub]\n",
        r':11: section "sub" is on no page'),
    "output unused": (OUT, "--8<-- [start:use]",
        "--8<-- [start:add]\n1\n--8<-- [end:add]\n--8<-- [start:use]",
        r':1: output "add" is on no page; run pytest --record'),
    # Snippet files
    "unended section": (CODE, "    # --8<-- [end:use]\n", "",
        r':13: section "use" never ends and swallows the rest'),
    "overlap": (CODE, "# --8<-- [end:add]\n", "",
        r':12: section "use" starts before "add" \(line 4\) has ended'),
    "misspelt start": (CODE, "[start:add]", "[strat:add]", r":4: misspelt section mark"),
    "misspelt end": (CODE, "[end:add]", "[end:ad]",
        r':9: \[end:ad\] ends no section: open is "add"'),
    "name with a digit first": (CODE, "[start:add]", "[start:1add]",
        r":4: misspelt section mark"),
    "capital section": (CODE, "[start:add]", "[start:ADD]", r':4: section "ADD": write lower'),
    "second section": (CODE, "    # --8<-- [end:use]\n",
        "    # --8<-- [end:use]\n    # --8<-- [start:use]\n    x = 1\n    # --8<-- [end:use]\n",
        r':17: a second section "use" is never shown'),
    "empty section": (CODE, "def add(a, b):\n    return a + b\n", "",
        r':4: section "add" is empty'),
    "code outside": (CODE, "# --8<-- [start:add]", "HIDDEN = 1\n# --8<-- [start:add]",
        r":4: is in no section, so no page shows it: 'HIDDEN = 1'"),
    "mark in a string": (CODE, "    return a + b",
        '    """\n    # --8<-- [end:add]\n    """\n    return a + b',
        r":7: a section mark inside a string"),
    "mark in a short string": (CODE, "    return a + b",
        '    mark = "--8<-- [end:add]"\n    return a + b',
        r":6: a section mark inside a string"),
    "include in a snippet": (CODE, "    return a + b", '    --8<-- "x.py:y"\n    return a + b',
        r":6: a snippet can't include another"),
    "runs at import": (CODE, "# --8<-- [end:add]", "print(add(1, 2))\n# --8<-- [end:add]",
        r":9: runs when the file is imported"),
    "syntax": (CODE, "def add(a, b):", "def add(a, b:", r":5: Python can't read it"),
    "no docstring": (CODE, '"""Sums, and what they come to."""\n', "", r":1: has no docstring"),
    # Figures, links, the site
    "figure not there": (PAGE, "Then", FIGURE + "\nThen",
        r":9: a link 'sums/use.svg#only-light', but .* is not found .*; run pytest --record docs/lessons/sums.md"),
    "no alt text": (PAGE, "Then", "![](sums/use.svg)\n\nThen", r":9: sums/use.svg has no alt text"),
    "other host": (PAGE, "Then", "![Sums](https://x.org/a.svg)\n\nThen",
        r":9: https://x.org/a.svg loads from another host"),
    "other host script": (PAGE, "Then", '<script src="//x.org/a.js"></script>\n\nThen',
        r":9: //x.org/a.js loads from another host"),
    "light alone": (PAGE, "Then", FIGURE.splitlines()[0] + "\n\nThen",
        r":9: sums/use.svg#only-light needs sums/use-dark.svg#only-dark"),
    "two alt texts": (PAGE, "Then", FIGURE.replace("[Sums](sums/use-d", "[Sum](sums/use-d") + "\nThen",
        r":9: .* need the same alt text"),
    "dead link": (PAGE, "Then", "[x](nothing.md) Then", r":9: a link 'nothing.md', but the target 'lessons/nothing.md' is not found"),
    "dead anchor": (PAGE, "Then", "[x](../index.md#nothing) Then",
        r":9: a link '../index.md#nothing', but the doc 'index.md' does not contain an anchor '#nothing'"),
    "dead anchor beside docstrings": (PAGE, "Then", "::: snippets.lessons.sums\n\n[x](#nothing)",
        r":11: a link '#nothing', but there is no such anchor"),
    "dead anchor here": (PAGE, "Then", "[x](#nothing) Then", r":9: a link '#nothing', but there is no such anchor on this page"),
    "not in nav": ("mkdocs.yml", "  - lessons/sums.md\n", "",
        r"docs/lessons/sums.md:1: is not in the navigation"),
    "nav without page": ("mkdocs.yml", "  - index.md\n", "  - index.md\n  - gone.md\n",
        r"mkdocs.yml:28: nav names gone.md"),
    "mark in capitals": (CODE, "[start:add]", "[Start:add]", r":4: misspelt section mark"),
    "option missing": ("mkdocs.yml", "      dedent_subsections: true\n", "",
        r"mkdocs.yml:1: pymdownx.snippets needs dedent_subsections: true"),
    "config no YAML": ("mkdocs.yml", "theme: material", "theme: [", r"mkdocs.yml:\d+: not valid YAML"),
    "formula": (PAGE, "Then", r"With $\frac{1}$ then", r":9: formula `\\frac\{1\}`: an argument is missing"),
    "tolerance of an output": (PAGE, "<!--pytest-codeblocks", "<!--runnable-pages:tolerance=0.1-->\n<!--pytest-codeblocks",
        r":17: a tolerance above an output; put it above the block"),
    "absolute link": (PAGE, "Then", "[x](/index.md) Then", r":9: an absolute link '/index.md'"),
    "twice in nav": ("mkdocs.yml", "  - index.md\n", "  - index.md\n  - index.md\n",
        r"mkdocs.yml:27: nav names index.md 2 times"),
    "needs a misspelt module": (PAGE, FENCE, "<!--pytest-codeblocks:importorskip(nnumpy)-->\n" + FENCE,
        r":6: importorskip\(nnumpy\) skips this block everywhere"),
    "figure-tolerance alone": (PAGE, FENCE, "<!--runnable-pages:figure-tolerance=0.1-->\n" + FENCE,
        r":6: a figure-tolerance without a figure"),
    "output as code": (PAGE, "```text", "```python", r":16: an output as python; write ```text"),
    "fence without end": (PAGE, ADD + "\n```", ADD, r":5: the fence never ends"),
    # Typed as Markdown, shown as it was typed
    "list in a paragraph": (PAGE, "Then", "It has:\n- one\n- two\n\nThen",
        r":10: a list inside a paragraph; put a blank line above it: '- one'"),
    "numbers in a paragraph": (PAGE, "Then", "It has:\n1. one\n\nThen", r":10: a list inside a paragraph"),
    "table in a paragraph": (PAGE, "Then", "It has:\n| a | b |\n| --- | --- |\n\nThen",
        r":10: a table that isn't one"),
    "table without a rule": (PAGE, "Then", "| a | b |\n| 1 | 2 |\n\nThen", r":9: a table that isn't one"),
    "box without a type": (PAGE, "Then", '!!! "Look"\n    Then', r":9: a box or tab that isn't one"),
    "tab without quotes": (PAGE, "Then", "=== PyTorch\n\nThen", r":9: a box or tab that isn't one"),
    "empty box": (PAGE, "Then", '!!! warning "Look out"\nThen', r":9: an empty box; indent its text"),
    "empty folded box": (PAGE, "Then", '??? success "Solution 1"\n\nThen', r":9: an empty box; indent its text"),
    "empty box without title": (PAGE, "Then", "!!! note\nThen", r":9: an empty box; indent its text"),
    "indented heading": (PAGE, "Then", "  ## Use\n\nThen", r":9: a heading that isn't one"),
    "footnote without text": (PAGE, "Then", "Look[^1]. Then", r":9: a link to a name that is defined nowhere"),
    "include too shallow": (PAGE, FENCE, '=== "A"\n\n    ```python\n' + ADD + "\n    ```\n",
        r":7: code that no section backs: '```'"),
    "unknown box": (PAGE, "Then", "!!! warnin\n\n    Then", r":9: there is no box 'warnin'; write one of note,"),
    "formula glued to prose": (PAGE, "Then", "Then $$x = 1 is so", r":9: a display formula that isn't one"),
    "formula without end": (PAGE, "Then", "$$\nx = 1\n\nThen", r":9: a display formula that isn't one"),
    "link to no name": (PAGE, "Then", "[then][nothere] Then", r":9: a link to a name that is defined nowhere"),
    "broken link": (PAGE, "Then", "[then](index.md Then", r":9: a link that isn't one"),
    "bold without end": (PAGE, "Then", "**Then", r":9: \*\* that never ends"),
    "tag that is none": (PAGE, "Then", "A list<int> Then", r":9: <int> is opened 1 times and closed 0 times"),
    "second title": (PAGE, "Then", "# More\n\nThen", r":9: a second title"),
    "figure without caption": (PAGE, "Then", "<figure>x</figure>\n\nThen", r":9: a figure without <figcaption>"),
    "merge conflict": (PAGE, "Then", "<<<<<<< HEAD\nThen", r":9: a merge conflict; keep one"),
    "task list": (PAGE, "Then", "- [x] done\n\nThen", r":9: an extension that isn't switched on"),
    "keys": (PAGE, "Then", "Press ++ctrl+c++. Then", r":9: an extension that isn't switched on"),
    "emoji": (PAGE, "Then", "Look :material-check: Then", r":9: an extension that isn't switched on"),
    "struck": (PAGE, "Then", "~~old~~ Then", r":9: an extension that isn't switched on"),
    "prices": (PAGE, "Then", "It costs $5-$10 an hour. Then", r":9: digits right after a formula"),
    # Front matter
    "bad setting": (PAGE, "# Sums", "---\ntolerance: soon\n---\n\n# Sums",
        r":2: tolerance must be a positive number, not 'soon'"),
    "negative setting": (PAGE, "# Sums", "---\ntolerance: -1\n---\n\n# Sums",
        r":2: tolerance must be a positive number, not -1"),
    "misspelt setting": (PAGE, "# Sums", "---\ntitle: x\ntolerence: 0.1\n---\n\n# Sums",
        r":3: unknown setting tolerence; did you mean tolerance\?"),
    "loopback": (PAGE, "# Sums", "---\nloopback: 1\n---\n\n# Sums",
        r":2: loopback must be true or false"),
    "unended front matter": (PAGE, "# Sums", "---\ntitle: x\n\n# Sums",
        r":1: front matter never ends"),
    "front matter no YAML": (PAGE, "# Sums", "---\na: [\n---\n\n# Sums",
        r":\d: front matter is no YAML"),
}  # fmt: skip


@pytest.mark.parametrize("name", EDITS)
def test_a_mistake_is_told_with_its_place_and_cure(sample, name):
    """Each kind of mistake gives a line with file, line, fault and cure."""
    file, old, new, message = EDITS[name]
    sample.edit(file, old, new)
    told = [str(mistake) for mistake in check(sample.root)]
    where = "" if "yml" in message or "docs/" in message[:5] else file
    assert any(re.match(re.escape(where) + message, line) for line in told), (
        "\n".join(told)
    )
    assert all(re.match(r"[\w./-]+:\d+: \S", line) for line in told)


# name: (file, its whole content, the message)
WHOLE = {
    "page no UTF-8": (PAGE, b"# Sums\n\xff\n", r":2: byte 0xff is not UTF-8; save"),
    "snippet no UTF-8": (CODE, b'"""x"""\n# \xe9\n', r":2: byte 0xe9 is not UTF-8"),
    "snippet without sections": ("snippets/other.sh", "", r":1: has no section"),
    "shared output": ("snippets/lessons/sums.sh", "# --8<-- [start:a]\ntrue\n# --8<-- [end:a]\n",
        r":1: sums.py records its outputs in the same .out file"),
    "output alone": ("snippets/lessons/old.out", "--8<-- [start:a]\n1\n--8<-- [end:a]\n",
        r':1: output "a" is on no page'),
    "picture of a page unused": ("docs/lessons/sums/use.svg", "<svg/>",
        r":1: docs/lessons/sums.md doesn't show this picture"),
    "picture unused": ("docs/other/old.svg", "<svg/>", r":1: no page shows this picture"),
    "no test": ("snippets/lessons/new.py", '"""New."""\n', r":1: has no test; write tests/snippets/lessons/test_new.py"),
    "results unused": ("snippets/lessons/sums.results.json", "{}", r":1: sums.py does not read"),
    "a module without package": ("snippets/new/idea.py", '"""New."""\n', r":1: can't be imported by its name; make an empty snippets/new/__init__.py"),
    "a page of bare includes": ("docs/index.md", "# Home\n\n" + ADD + "\n", r":3: lessons/sums.py:add doesn't reach the page as code"),
}  # fmt: skip


@pytest.mark.parametrize("name", WHOLE)
def test_a_wrong_file_is_told(sample, name):
    """Files that can't be read, or that nothing uses, are named."""
    file, content, message = WHOLE[name]
    sample.write(file, content)
    told = [str(mistake) for mistake in check(sample.root)]
    assert any(re.match(re.escape(file) + message, s) for s in told), told


def test_the_sample_has_no_mistake(sample):
    """What the table starts from is right."""
    assert check(sample.root) == []


@pytest.mark.parametrize("mistake", ["a page no text", "a fence without end"])
def test_a_mistake_brings_no_followers(sample, mistake):
    """What a page can't show for another mistake is not told as unused."""
    if mistake == "a page no text":
        sample.write(PAGE, b"# Sums\n\xff\n")
    else:
        sample.edit(PAGE, ADD + "\n```", ADD)
    told = check(sample.root)
    assert [m.path for m in told] == [PAGE], told


def test_sections_out_of_order_are_told(sample):
    """A page that shows the use before the definition is told both names."""
    text = sample.read(PAGE)
    swapped = text.replace(":add", ":x").replace("sums.py:use", "sums.py:add")
    sample.write(PAGE, swapped.replace(":x", ":use").split("<!--")[0])
    told = [str(mistake) for mistake in check(sample.root)]
    assert (
        PAGE + ':11: section "add" stands before "use" in '
        "snippets/lessons/sums.py, but after it here; mend one of the two"
    ) in told


@pytest.mark.parametrize("later", [True, False])
@pytest.mark.parametrize(
    "line", ["from snippets.lessons.products import mul", "from snippets.lessons import products"]
)  # fmt: skip
def test_only_earlier_lessons_may_be_imported(sample, line, later):
    """The order is that of the navigation."""
    sums = "  - lessons/sums.md\n"
    pair = (sums, "  - lessons/products.md\n")
    sample.edit("mkdocs.yml", sums, "".join(pair if later else pair[::-1]))
    sample.edit(CODE, "    total", f"    {line}\n\n    total")
    told = [str(mistake) for mistake in check(sample.root)]
    message = f"{CODE}:14: imports snippets.lessons.products, a lesson"
    assert any(text.startswith(message) for text in told) == later


def test_all_mistakes_are_told_not_only_the_first(sample):
    """Four mistakes in two files give their lines, sorted by place."""
    sample.edit(PAGE, ":add", ":ad")
    sample.edit(PAGE, "sums.out:use", "sums.out:us")
    sample.edit(PAGE, "Then", "[Then](nothing.md)")
    sample.edit(CODE, "[end:use]", "[end:us]")
    told = check(sample.root)
    assert [m.path for m in told] == sorted(m.path for m in told)
    assert {(m.path, m.line) for m in told} >= {
        (PAGE, 6), (PAGE, 9), (PAGE, 17), (CODE, 16), (CODE, 13)
    }  # fmt: skip


GOOD = {
    "attributes": '```python hl_lines="1" linenums="1"\n' + ADD + "\n```\n",
    "braces": '``` { .python title="x" }\n' + ADD + "\n```\n",
    "tab": '=== "A"\n\n' + "".join(f"    {s}\n" for s in FENCE.splitlines()),
    "admonition": "!!! warning\n\n" + "".join(f"    {s}\n" for s in FENCE.splitlines()),
    "folded": '??? note "Look"\n\n' + "".join(f"    {s}\n" for s in FENCE.splitlines()),
    "list": "1. First:\n\n" + "".join(f"    {s}\n" for s in FENCE.splitlines()),
    "deep tab": '!!! note\n\n    === "A"\n\n' + "".join(f"        {s}\n" for s in FENCE.splitlines()),
}  # fmt: skip


@pytest.mark.parametrize("name", GOOD)
def test_a_supported_form_is_seen(sample, name):
    """Fences with attributes, in tabs, boxes and lists are blocks."""
    from runnable_pages.page import read_page
    from runnable_pages.project import Project

    sample.edit(PAGE, FENCE, GOOD[name])
    assert check(sample.root) == []
    page = read_page(Project.load(sample.root), sample.root / PAGE)
    assert [block.name for block in page.runnable()] == ["add", "use"]
