"""A page as readers get it: which code its HTML shows, and what backs it.

The page is rendered with the extensions of mkdocs.yml, and the code in its
HTML must be the text of its includes, in that order. What matches is the
session that runs. What doesn't is a mistake, in whatever disguise it came.
"""

import difflib
import importlib.util
import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

import yaml
from pymdownx.snippets import SnippetMissingError

from runnable_pages.project import (
    SAFE_LOADER,
    Mistake,
    Unreadable,
    read_text,
)
from runnable_pages.prose import prose_mistakes
from runnable_pages.sections import INCLUDE, MARK, read_snippet

RUNNABLE = {".py": ("python",), ".sh": ("bash", "sh")}
DIRECTIVE = re.compile(
    r'[ \t]*--8<-- "(?P<file>[^":]+):(?P<section>[a-z][-_0-9a-z]*)"'
)
FENCE = re.compile(r"[ \t]*```[ {.]*(?P<language>[\w+#-]+)[^`]*")
OUTPUT_MARK = "<!--pytest-codeblocks:expected-output-->"
MARKS = {
    "output": re.compile(re.escape(OUTPUT_MARK)),
    "skip": re.compile(r'<!--pytest\.mark\.skip\(reason="(.*\S.*)"\)-->'),
    "needs": re.compile(r"<!--pytest-codeblocks:importorskip\(([\w.]+)\)-->"),
    "tolerance": re.compile(r"<!--runnable-pages:tolerance=([0-9.e-]+)-->"),
    "figure_tolerance": re.compile(
        r"<!--runnable-pages:figure-tolerance=([0-9.e-]+)-->"
    ),
}
LOOKS_LIKE_MARK = re.compile(r"<!--.*(pytest|codeblock|runnable)", re.I)
# What a page's front matter may set for its run, with the type allowed.
SETTINGS = {"tolerance": float, "loopback": bool}
RECORD = "run pytest --record"
NEVER_ENDS = "the fence never ends; close it with ```"
HOW = 'write --8<-- "file.py:section" and nothing else'


@dataclass(frozen=True)
class Include:
    """One include line: `snippets/<file>`, its section, the page's line."""

    file: str
    section: str
    line: int
    text: str = field(repr=False)


@dataclass(frozen=True)
class Block:
    """A piece of code of a page, backed by one section of one file."""

    line: int
    language: str
    include: Include
    name: str
    output: Include | None = None
    skip: str | None = None
    needs: str | None = None
    tolerance: float | None = None
    figure_tolerance: float | None = None

    @property
    def runs(self):
        """Whether the run executes it."""
        suffix = Path(self.include.file).suffix
        return self.language in RUNNABLE.get(suffix, ())


@dataclass
class Page:
    """A page, read. What is wrong with it is in `mistakes`."""

    name: str
    text: str = ""
    settings: dict = field(default_factory=dict)
    includes: list = field(default_factory=list)
    blocks: list = field(default_factory=list)
    mistakes: list = field(default_factory=list)
    images: list = field(default_factory=list)  # (src, alt)

    def runnable(self):
        """The blocks that the run executes, in order."""
        return [block for block in self.blocks if block.runs]

    def blocking(self):
        """Mistakes that keep the page from running: not missing records."""
        return [m for m in self.mistakes if RECORD not in m.text]

    def mistake(self, line, text):
        """Note what is wrong, at a line of the page."""
        self.mistakes.append(Mistake(self.name, line, text))

    def line_of(self, text, after=0):
        """The first line below `after` that has the text, or `after` or 1."""
        lines = self.text.split("\n")[after:]
        found = (n for n, line in enumerate(lines, after + 1) if text in line)
        return next(found, after or 1)


class Html(HTMLParser):
    """What a page's HTML shows: the text of each `<pre>`, and images.

    Docstrings, which mkdocstrings puts in, and line numbers are no code.
    """

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.code, self.images, self.loads = [], [], []
        self._text, self._hidden = None, 0
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        classes = (attrs.get("class") or "").split()
        if tag == "div" and (
            self._hidden or {"doc", "linenodiv"} & {*classes}
        ):
            self._hidden += 1
        if tag == "pre" and not self._hidden:
            self._text = []
        if tag == "img":
            self.images.append((attrs.get("src") or "", attrs.get("alt")))
        loads = tag in ("img", "script", "iframe", "video", "source")
        if loads and (attrs.get("src") or "").startswith(("http", "//")):
            self.loads.append(attrs["src"])

    def handle_data(self, data):
        if self._text is not None:
            self._text.append(data)

    def handle_endtag(self, tag):
        if tag == "div" and self._hidden:
            self._hidden -= 1
        if tag == "pre" and self._text is not None:
            self.code.append("".join(self._text).strip("\n"))
            self._text = None


def read_page(project, path, html=None):
    """Read the page at `path`, from its HTML if given. Never raises."""
    page = Page(project.name(path))
    try:
        page.text = read_text(project, path)
    except Unreadable as error:
        page.mistakes.append(error.mistake)
        return page
    lines = _without_front_matter(page)
    _resolve_includes(project, page, lines)
    if any(mistake.text == NEVER_ENDS for mistake in page.mistakes):
        return page  # what comes after it would be told for nothing
    if html is None:
        alive = without_dead_includes(project, lines)
        try:
            html = project.render("\n".join(alive))
        except Exception as error:  # extensions raise what they like
            page.mistake(*_why_not_rendered(lines, error))
            return page
    shown = Html(html)
    page.images = shown.images
    marks = _read_lines(page, lines)
    _match(project, page, shown.code, lines, marks)
    for line, text in marks.values():
        page.mistake(line, f"{text!r} stands above no block; move it to one")
    for url in shown.loads:
        text = f"{url} loads from another host; keep a copy in the project"
        page.mistake(page.line_of(url), text)
    page.mistakes += prose_mistakes(page, html)
    _check_order(project, page)
    return page


# Front matter


def _without_front_matter(page):
    """The page's lines, those of its front matter emptied; reads settings."""
    lines = page.text.split("\n")
    if lines[0].rstrip() != "---":
        return lines
    ends = [n for n, s in enumerate(lines) if n and s.rstrip() == "---"]
    if not ends:
        page.mistake(1, "front matter never ends; close it with ---")
        return lines
    try:
        text = "\n".join(lines[1 : ends[0]])
        settings = yaml.load(text, Loader=SAFE_LOADER) or {}
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        text = getattr(error, "problem", error)
        line = mark.line + 2 if mark else 1
        page.mistake(line, f"front matter is no YAML: {text}")
        settings = {}
    _read_settings(page, settings, lines)
    return [""] * (ends[0] + 1) + lines[ends[0] + 1 :]


def _read_settings(page, settings, lines):
    for key, value in settings.items():
        starts = (n for n, s in enumerate(lines, 1) if s.startswith(str(key)))
        line = next(starts, 1)
        if key not in SETTINGS:
            meant = difflib.get_close_matches(str(key), SETTINGS, 1, 0.8)
            if meant:
                text = f"unknown setting {key}; did you mean {meant[0]}?"
                page.mistake(line, text)
            continue
        kind = SETTINGS[key]
        is_bool = isinstance(value, bool)
        if kind is bool and not is_bool:
            page.mistake(line, f"{key} must be true or false, not {value!r}")
        elif kind is float and (
            is_bool or not isinstance(value, int | float) or value <= 0
        ):
            text = f"{key} must be a positive number, not {value!r}"
            page.mistake(line, text)
        else:
            page.settings[key] = value


# Line by line


def _resolve_includes(project, page, lines):
    """Note the includes, and those that lead nowhere."""
    for number, line in enumerate(lines, 1):
        match = DIRECTIVE.fullmatch(line)
        if not match:
            continue
        try:
            text = project.include(match["file"], match["section"])
        except SnippetMissingError:
            page.mistake(
                number, _why_missing(project, page, **match.groupdict())
            )
            text = ""
        include = Include(match["file"], match["section"], number, text)
        page.includes.append(include)
        below = lines[number].strip() if number < len(lines) else ""
        if not below and number > 1 and FENCE.fullmatch(lines[number - 2]):
            page.mistake(number - 1, NEVER_ENDS)


def without_dead_includes(project, lines):
    """The lines, those emptied that pymdownx couldn't or shouldn't follow."""
    alive = []
    for line in lines:
        match = DIRECTIVE.fullmatch(line)
        good = match and project.has(match["file"], match["section"])
        alive.append("" if INCLUDE.match(line) and not good else line)
    return alive


def _why_missing(project, page, file, section):
    """Why there is no such section, and what to do."""
    base = project.snippets
    path = (base / file).resolve()
    record = f"; {RECORD} {page.name}" if file.endswith(".out") else ""
    if not path.is_relative_to(base):
        return f"{file} is outside {base.name}/; move it there"
    if path.is_file():
        there = ", ".join(read_snippet(project, path).sections) or "none"
        return (
            f'section "{section}" is not in {base.name}/{file}; it has: '
            f"{there}{record}"
        )
    names = [p.relative_to(base).as_posix() for p in project.snippet_files()]
    close = difflib.get_close_matches(file, names, 1)
    hint = f"; did you mean {close[0]}?" if close else "; make it"
    return f"there is no {base.name}/{file}{record or hint}"


def _read_lines(page, lines):
    """Tell what no page means; returns the marks: {line: (line, text)}."""
    marks = {}
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if re.match(r"(<{7}|>{7}|\|{7}) ", line):
            what = "a merge conflict; keep one of its two sides"
            page.mistake(number, f"{what} ({text!r})")
        if text.startswith("```") and text.count("```") > 1:
            what = "code between ``` on one line; use single backticks"
            page.mistake(number, what)
        bare = re.sub(r"`[^`]*`", "", line)
        if ("8<-" in bare or MARK.match(bare)) and not DIRECTIVE.fullmatch(
            line
        ):
            page.mistake(number, _why_no_include(line))
        if any(mark.fullmatch(text) for mark in MARKS.values()):
            marks[number] = (number, text)
        elif LOOKS_LIKE_MARK.match(text):
            page.mistake(
                number,
                f"unknown mark {text!r}, a typo? There are {OUTPUT_MARK}, "
                '<!--pytest.mark.skip(reason="why")-->, '
                "<!--pytest-codeblocks:importorskip(module)--> and "
                "<!--runnable-pages:tolerance=0.01--> (or figure-tolerance)",
            )
    return marks


def _why_no_include(line):
    """What is wrong with a line that should be an include."""
    text = line.strip()
    if line != line.rstrip():
        return "a space after the include prints it as text; delete the space"
    if text.startswith(";"):
        return "a ; before the include prints it as text; delete it"
    if re.search(r":-?\d", text):
        return f"lines by number break at the next edit; {HOW}"
    if re.search(r'"[^":]+"$', text):
        return f"a whole file is no block; name a section: {HOW}"
    if re.fullmatch(r"-+8<-+", text):
        return f"the block form names no section; {HOW}"
    if text.count('"') != 2:
        return f'the include lacks a "; {HOW}'
    return f"not an include that is known here: {text!r}; {HOW}"


def _why_not_rendered(lines, error):
    """The line that an extension's error names, and what it says."""
    named = re.findall(r"'([^']+)'", str(error))
    found = (
        number
        for number, line in enumerate(lines, 1)
        if any(name in line for name in named)
    )
    return next(found, 1), f"{type(error).__name__}: {error}; mend it"


# Blocks


def _match(project, page, code, lines, marks):
    """Find the include of each piece of code; the rest are mistakes.

    Takes the marks of the blocks that it finds out of `marks`.
    """
    left = list(page.includes)
    for text in code:
        at = [n for n, i in enumerate(left) if i.text.strip("\n") == text]
        if not at:
            _unbacked(project, page, text, lines, left)
            continue
        for include in left[: at[0]]:
            _not_reached(page, include)
        include = left[at[0]]
        left = left[at[0] + 1 :]
        _add_block(project, page, include, lines, marks)
    for include in left:
        _not_reached(page, include)


def _unbacked(project, page, text, lines, left):
    """Code that no section backs, at the line that it most likely is."""
    first = next((s.strip() for s in text.split("\n") if s.strip()), "")
    after = max((b.include.line for b in page.blocks), default=0)
    line = page.line_of(first, after) if first else 0
    if not first or first not in lines[line - 1]:
        # It may begin with an include: then at the line typed beside it.
        near = left[0].line if left else after
        fences = (
            n for n, s in enumerate(lines, 1) if n > after and "```" in s
        )
        line = near if left else next(fences, 1)
    if not text:
        page.mistake(line, f"an empty block; {HOW}")
        return
    page.mistake(
        line,
        f"code that no section backs: {first!r}; put it into a section of a "
        f"file under {project.snippets.name}/ and include that alone",
    )


def _not_reached(page, include):
    page.mistake(
        include.line,
        f"{include.file}:{include.section} doesn't reach the page as code; "
        "write ```python above it and ``` below, as deep as what is around",
    )


def _add_block(project, page, include, lines, marks):
    above, below = (
        lines[include.line - 2],
        lines[include.line : include.line + 1],
    )
    fence = include.line - 1
    match = FENCE.fullmatch(above)
    language = match["language"] if match else ""
    if not match or below[0].strip() != "```":
        page.mistake(
            fence,
            "a block is three lines: ```python (or bash, text, ...), one "
            f"include, ```; not {above.strip()!r}",
        )
    own = _marks_above(lines, fence, marks)
    if include.file.endswith(".out"):
        _add_output(page, language, include, own)
        return
    if "output" in own:
        text = f"{OUTPUT_MARK} belongs above an output; drop it here"
        page.mistake(fence, text)
    wanted = RUNNABLE.get(Path(include.file).suffix)
    if match and wanted and language not in wanted:
        page.mistake(
            fence,
            f"{include.file} in a {language or 'bare'} fence is not run; "
            f"write ```{wanted[0]}",
        )
    elif not wanted and language in ("python", "bash", "sh"):
        page.mistake(fence, f"{include.file} can't run as {language}")
    names = [i.section for i in page.includes if not i.file.endswith(".out")]
    name = include.section
    if names.count(name) > 1:
        name = f"{Path(include.file).stem}:{name}"
    numbers = {
        key: float(own[key])
        for key in ("tolerance", "figure_tolerance")
        if key in own
    }
    block = Block(
        fence,
        language,
        include,
        name,
        skip=own.get("skip"),
        needs=own.get("needs"),
        **numbers,
    )
    page.blocks.append(block)
    _check_marks(project, page, block)


def _marks_above(lines, fence, marks):
    """The marks right above a fence (blank lines aside), taken from marks."""
    own = {}
    for number in range(fence - 1, 0, -1):
        if number in marks:
            text = marks.pop(number)[1]
            for key, mark in MARKS.items():
                match = mark.fullmatch(text)
                if match:
                    own[key] = match[1] if mark.groups else True
        elif lines[number - 1].strip():
            break
    return own


def _check_marks(project, page, block):
    """Marks that could never have an effect, or always have one."""
    needs = (block.needs or "").partition(".")[0]
    known = needs in project.packages or importlib.util.find_spec(
        needs or "os"
    )
    if needs and not known:
        page.mistake(
            block.line,
            f"importorskip({block.needs}) skips this block everywhere: "
            "pyproject.toml installs no such package; mend the name",
        )
    if block.skip and not block.runs:
        page.mistake(block.line, "this block never runs; drop the skip")


def _add_output(page, language, include, own):
    """Join an output to the block that printed it."""
    line = include.line - 1
    block = page.blocks[-1] if page.blocks else None
    if "output" not in own or block is None:
        text = f"output without a block; put {OUTPUT_MARK} above, and a block"
        page.mistake(line, text)
        return
    if language != "text":
        page.mistake(line, f"an output as {language}; write ```text")
    if own.keys() - {"output"}:
        text = "a tolerance above an output; put it above the block"
        page.mistake(line, text)
    file = Path(block.include.file).with_suffix(".out").as_posix()
    want = (file, block.include.section)
    if (
        block.output
        or not block.runs
        or (include.file, include.section) != want
    ):
        page.mistake(
            include.line,
            f"here belongs the output {want[0]}:{want[1]} of the block above, "
            f"once, if that runs; not {include.file}:{include.section}",
        )
        return
    page.blocks[-1] = Block(**{**vars(block), "output": include})


def _check_order(project, page):
    """Sections that a page shows twice, or not in their file's order."""
    shown = {}
    for block in page.blocks:
        file, section = block.include.file, block.include.section
        before = shown.setdefault(file, [])
        if not block.include.text:
            continue  # told as missing
        names = list(read_snippet(project, project.snippets / file).sections)
        if section not in names:
            continue  # told where the snippet is read
        if section in before:
            text = f'section "{section}" is on this page twice; drop one'
            page.mistake(block.line, text)
        elif before and names.index(section) < max(map(names.index, before)):
            page.mistake(
                block.line,
                f'section "{section}" stands before "{before[-1]}" in '
                f"{project.snippets.name}/{file}, but after it here; mend "
                "one of the two",
            )
        before.append(section)
