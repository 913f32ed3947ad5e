"""What was meant as Markdown and came out as text.

Markdown never complains. A list without a blank line above it, a box whose
body isn't indented, a formula that never ends: all are shown as they were
typed. The HTML tells them.
"""

import re
from collections import Counter
from html import unescape

from runnable_pages.project import Mistake

BOX = re.compile(r"[ \t]*(?:!!!|\?\?\?\+?) +(?P<type>[\w-]+)")
# The types of boxes that the theme has a colour and a sign for.
BOXES = (
    "note, abstract, info, tip, success, question, warning, failure, danger, "
    "bug, example, quote"
)
NOT_PROSE = re.compile(
    r"<(pre|code|math|script|style|svg)\b.*?</\1>|<!--.*?-->", re.S
)
TAG = re.compile(r"<(?P<end>/?)(?P<name>[a-zA-Z][\w-]*)[^<>]*>")
VOID = {"br", "col", "hr", "img", "input", "link", "meta", "source", "wbr"}
TYPED = [  # (what stands in the HTML, what to do about it)
    (
        r"^(?:[-*+]|\d+[.)]) \S[^\n]*",
        "a list inside a paragraph; put a blank line above it",
    ),
    (
        r"^(?:<p>)?\|[^\n]*",
        "a table that isn't one; put a blank line above it, and a line "
        "| --- | below its head",
    ),
    (
        r"(?<![\w\\])(?:!!!|\?\?\?\+?|===\+?)(?= [\w\"“])[^\n<]*",
        "a box or tab that isn't one; put a blank line above it, and its "
        'title in "..."',
    ),
    (
        r"\$\$[^\n<]*",
        "a display formula that isn't one; put each $$ on a line of its own, "
        "with a blank line above the first and below the last",
    ),
    (
        r"\[[^\]\[\n]+\]\[[^\]\n]*\]|\[\^[\w-]+\]",
        "a link to a name that is defined nowhere; add [name]: address",
    ),
    (
        r"^(?:<p>)? *#{1,6} [^\n<]*",
        "a heading that isn't one; begin it at the line's very start",
    ),
    (r"\[[^\]\[\n]+\]\([^)\n]*\)?", "a link that isn't one; mend its address"),
    (r"\*\*\S[^\n<]*", "** that never ends; close it, or write \\*\\*"),
    (
        r"(?<=<li>)\[[ xX]\] [^\n<]*|\+\+[a-z][\w+-]*\+\+|~~\S[^\n<]*?~~"
        r"|==\S[^\n<]*?==|(?<![\w:]):[a-z][a-z0-9_+-]+:(?![\w:])",
        "an extension that isn't switched on; write it in plain Markdown",
    ),
    (
        r"`(?:</span>)?\d[^\n<]*",
        "digits right after a formula or code; for a price write \\$5, else "
        "put a space between",
    ),
]
TYPED = [(re.compile(pattern, re.M), text) for pattern, text in TYPED]
EMPTY_BOX = re.compile(
    r'(?:<p class="admonition-title">|<summary>)(?P<title>[^<]*)'
    r"(?:</p>|</summary>)\s*</(?:div|details)>"
)


def prose_mistakes(page, html):
    """What the page's HTML shows as it was typed, or leaves open."""
    bare = NOT_PROSE.sub("`", html)
    bad = re.findall(r'class="math-error">(.*?)</strong>', bare)
    told = [f"{unescape(text)}; mend it" for text in bad]
    formulas = [_mistake(page, t.partition("`")[2], t) for t in told]
    mistakes = [
        _mistake(page, match[0], f"{text}: {_short(match[0])!r}")
        for pattern, text in TYPED
        for match in pattern.finditer(bare)
    ]
    mistakes += [
        _box_mistake(page, match["title"])
        for match in EMPTY_BOX.finditer(bare)
    ]
    return (
        formulas + mistakes + _unknown_boxes(page) + _tag_mistakes(page, bare)
    )


def _unknown_boxes(page):
    """Boxes of a type that has no colour and no sign."""
    return [
        Mistake(
            page.name,
            number,
            f"there is no box {box['type']!r}; write one of {BOXES}",
        )
        for number, line in enumerate(page.text.split("\n"), 1)
        if (box := BOX.match(line)) and box["type"] not in BOXES.split(", ")
    ]


def _box_mistake(page, title):
    """A box without a title of its own has the name of its type."""
    boxes = re.findall(r"^[ \t]*(?:!!!|\?\?\?).*", page.text, re.M)
    line = next((b for b in boxes if title.lower() in b.lower()), title)
    return _mistake(page, line, "an empty box; indent its text by four")


def _tag_mistakes(page, bare):
    """Tags that stay open, figures without a caption, a second title."""
    opened, closed = Counter(), Counter()
    for tag in TAG.finditer(bare):
        (closed if tag["end"] else opened)[tag["name"].lower()] += 1
    mistakes = [
        _mistake(
            page,
            f"<{name}",
            f"<{name}> is opened {opened[name]} times and closed "
            f"{closed[name]} times; close it, or write it as `<{name}>`",
        )
        for name in sorted(opened.keys() | closed.keys())
        if opened[name] != closed[name] and name not in VOID
    ]
    if opened["figcaption"] < opened["figure"]:
        text = "a figure without <figcaption>; say what to see in it"
        mistakes.append(_mistake(page, "<figure", text))
    if opened["h1"] > 1:
        titles = re.findall(r"<h1\b[^>]*>([^<]*)", bare)
        text = "a second title; a page has one #, then ## and ###"
        mistakes.append(_mistake(page, f"# {titles[1]}", text))
    return mistakes


def _mistake(page, shown, text):
    """The mistake, at the first line of the page that has what is shown."""
    words = _short(shown).lstrip("`")[:16].split("`")[0].strip()
    lines = page.text.split("\n")
    line = next((n for n, s in enumerate(lines, 1) if words in s), 1)
    return Mistake(page.name, line, text)


def _short(text):
    text = re.sub(r"<[^>]*>", "", text)
    return text if len(text) <= 40 else text[:39] + "…"
