"""The roadmap says how much there is to read, and counts it."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROADMAP = (ROOT / "docs/start/roadmap.md").read_text("utf-8")
LINK = re.compile(r"\]\((?:\.\./)?([a-z-]+/)?([a-z-]+)\.md[^)]*\)")
AMOUNT = re.compile(r"([\d,]+) words and ([\d,]+) lines of code")


def prose(page):
    """The words of a page: no code, no figures, no front matter."""
    text, inside = [], False
    for line in page.split("---\n", 2)[2].splitlines():
        if line.lstrip().startswith("```"):
            inside = not inside
        elif not inside and not line.lstrip().startswith(("<", "![", ":::")):
            text.append(re.sub(r"\]\([^)]*\)", "]", line))
    return len(" ".join(text).split())


def amount(text):
    """Words of prose and lines of code of the lessons linked in a text."""
    words = lines = 0
    for folder, name in dict.fromkeys(LINK.findall(text)):
        path = f"{folder or 'start/'}{name}"
        snippet = ROOT / f"snippets/{path.replace('-', '_')}.py"
        words += prose((ROOT / f"docs/{path}.md").read_text("utf-8"))
        if snippet.exists():
            code = snippet.read_text("utf-8").splitlines()
            lines += sum(bool(line.strip()) for line in code)
    return words, lines


def parts():
    """Each row of the table, and each background with its list."""
    rows = [line for line in ROADMAP.splitlines() if AMOUNT.search(line)]
    return [row for row in rows if row.startswith("|")] + [
        part for part in ROADMAP.split("\n### ")[1:] if AMOUNT.search(part)
    ]


@pytest.mark.parametrize("part", parts(), ids=lambda part: part[:20])
def test_what_there_is_to_read_is_counted(part):
    """Words and lines are those of the lessons, to a hundred or 5 %."""
    said = [int(n.replace(",", "")) for n in AMOUNT.search(part).groups()]
    assert said == pytest.approx(amount(part), rel=0.05, abs=60)


def test_every_step_and_the_ways_say_how_much():
    """Five steps, and the ways of beginners and practitioners."""
    assert len(parts()) == 7
    assert "hour" not in ROADMAP


def test_every_lesson_counts_once():
    """All lessons together: a page has between 300 and 4,000 words."""
    pages = [p for part in parts()[:5] for p in LINK.findall(part)]
    assert len(pages) == len(set(pages)) > 25
    for folder, name in pages:
        words, _ = amount(f"]({folder}{name}.md)")
        assert 300 < words < 4000, name
