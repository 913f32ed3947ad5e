"""A page as it is written: its blocks, their marks, and what is wrong."""

import ast
import difflib
import functools
import importlib.util
import io
import re
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path

import yaml

from runnable_pages.project import (
    SAFE_LOADER,
    Mistake,
    Unreadable,
    read_text,
)
from runnable_pages.sections import MARK, read_snippet

RUNNABLE = ("python", "bash", "sh")
LANGUAGES = {".py": ("python",), ".sh": ("bash", "sh")}
FENCE = re.compile(
    r"^(?P<indent>[ \t]*)(?P<quote>(?:>[ \t]*)*)"
    r"(?P<bullet>(?:[-*+]|\d+[.)])[ \t]+)?"
    r"(?P<fence>`{3,}|~{3,})(?P<info>.*)$"
)
LANGUAGE = re.compile(r"\s*\{?\s*\.?([\w#+-]+)")
DIRECTIVE = re.compile(
    r'^[ \t]*--8<-- "(?P<file>[^":]+):(?P<section>[a-z][-_0-9a-z]*)"$'
)
OUTPUT_MARK = "<!--pytest-codeblocks:expected-output-->"
SKIP_MARK = re.compile(r"<!--pytest\.mark\.skip\(reason=(.+)\)-->")
NEEDS_MARK = re.compile(r"<!--pytest-codeblocks:importorskip\(([\w.]+)\)-->")
TOLERANCE_MARK = re.compile(
    r"<!--runnable-pages:(?P<figure>figure-)?tolerance=(?P<value>[0-9.e-]+)-->"
)
CONFLICT = re.compile(r"(<{7}|>{7}|\|{7}) ")
BOX = re.compile(r"[ \t]*(?:!!!|\?\?\?\+?) +(?P<type>[\w-]+)")
# The types of boxes that the theme has a colour and a sign for.
BOXES = (
    "note, abstract, info, tip, success, question, warning, failure, danger, "
    "bug, example, quote"
)
LOOKS_LIKE_MARK = re.compile(r"<!--.*(pytest|codeblock|runnable)", re.I)
HOW = 'write --8<-- "file.py:section" and nothing else'
RECORD = "run pytest --record"

# What a page's front matter may set for its run, with the types allowed.
SETTINGS = {
    "time_limit": (int, float),
    "memory_limit": (int, float),
    "threads": (int,),
    "tolerance": (int, float),
    "figure_tolerance": (int, float),
    "loopback": (bool,),
}


@dataclass(frozen=True)
class Include:
    """One include line: `snippets/<file>`, its section, the page's line."""

    file: str
    section: str
    line: int


@dataclass(frozen=True)
class Block:
    """A fence of a page, backed by one section of one snippet file."""

    page: str
    line: int
    language: str
    include: Include
    output: Include | None = None
    skip: str | None = None
    needs: str | None = None
    tolerance: float | None = None
    figure_tolerance: float | None = None
    name: str = ""

    @property
    def runs(self):
        """Whether the run executes it."""
        return self.language in RUNNABLE


@dataclass
class Page:
    """A page, parsed. What is wrong with it is in `mistakes`."""

    name: str
    text: str = ""
    settings: dict = field(default_factory=dict)
    blocks: list = field(default_factory=list)
    mistakes: list = field(default_factory=list)

    def runnable(self):
        """The blocks that the run executes, in order."""
        return [block for block in self.blocks if block.runs]

    def includes(self):
        """Every include, of code and of output, in order."""
        for block in self.blocks:
            yield from filter(None, (block.include, block.output))

    @property
    def is_unreadable(self):
        """Whether the file is no text, so that nothing is known of it."""
        return bool(self.mistakes) and not self.text

    def blocking(self):
        """Mistakes that keep the page from running: not missing records."""
        return [m for m in self.mistakes if RECORD not in m.text]


@dataclass
class _Fence:
    line: int
    language: str
    body: list = field(default_factory=list)  # (line number, text)


def read_page(project, path):
    """Parse the page at `path`. Never raises."""
    try:
        return parse_page(project, path, read_text(project, path))
    except Unreadable as error:
        return Page(project.name(path), mistakes=[error.mistake])


def parse_page(project, path, text):
    """Parse a page's text. Never raises."""
    page = Page(project.name(path), text)
    reader = _Reader(project, page)
    lines = text.split("\n")
    body = reader.read_front_matter(lines)
    reader.scan(lines, body)
    reader.cut()
    reader.name_blocks()
    return page


class _Reader:
    """Reads one page; collects its blocks and mistakes."""

    def __init__(self, project, page):
        self.project = project
        self.page = page
        self.plain = []  # the page's lines as pytest_codeblocks can cut them
        self.fences = {}  # line -> _Fence
        self.tolerances = {}  # line of a fence -> {"tolerance": ...}
        self.waiting = {}  # tolerances that wait for their fence
        self.marks = []  # (line, text) of marks that wait for their fence
        self.files = {}  # snippet files read so far

    def mistake(self, line, text):
        self.page.mistakes.append(Mistake(self.page.name, line, text))

    # Front matter

    def read_front_matter(self, lines):
        """Read the settings; returns the number of lines they take."""
        if not lines or lines[0].rstrip() != "---":
            return 0
        ends = [
            n for n, line in enumerate(lines[1:], 1) if line.strip() == "---"
        ]
        if not ends:
            self.mistake(1, "front matter never ends; close it with ---")
            return 0
        try:
            text = "\n".join(lines[1 : ends[0]])
            meta = yaml.load(text, Loader=SAFE_LOADER) or {}
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            line = mark.line + 2 if mark else 1
            self.mistake(line, f"front matter is no YAML: {error.problem}")
            return ends[0] + 1
        for key, types in SETTINGS.items():
            self._setting(key, types, meta, lines)
        for key in meta.keys() - SETTINGS.keys():
            meant = difflib.get_close_matches(str(key), SETTINGS, 1, 0.8)
            if meant:
                line = _line_starting(lines, str(key))
                text = f"unknown setting {key}; did you mean {meant[0]}?"
                self.mistake(line, text)
        return ends[0] + 1

    def _setting(self, key, types, meta, lines):
        if key not in meta:
            return
        value = meta[key]
        right = isinstance(value, types) and (
            bool in types or (not isinstance(value, bool) and value > 0)
        )
        if right:
            self.page.settings[key] = value
            return
        line = _line_starting(lines, key)
        kind = "true or false" if bool in types else "a positive number"
        self.mistake(line, f"{key} must be {kind}, not {value!r}")

    # Line by line

    def scan(self, lines, start):
        """Find every fence, and every disguise of one."""
        self.plain = [""] * start
        fence, closing, comment = None, "", False
        for number, line in enumerate(lines[start:], start + 1):
            if fence is not None:
                if line.strip("> \t\r") == closing:
                    fence = None
                    self.plain.append("```")
                    continue
                if not _opens_another(line):
                    fence.body.append((number, line))
                    self.plain.append(line)
                    continue
                self._never_ends(fence)
            match = FENCE.match(line)
            if match:
                fence, closing = self._open(number, match, comment)
                continue
            comment = self._outside(number, line, comment)
        if fence is not None:
            self._never_ends(fence)
        self._marks_without_fence()

    def _never_ends(self, fence):
        """Tell it, and end the fence where it was surely meant to end."""
        self.mistake(fence.line, "the fence never ends; close it with ```")
        lines = range(fence.line, len(self.plain))
        end = next((n for n in lines if not self.plain[n].strip()), None)
        if end is None:
            self.plain.append("```")
            return
        self.plain[end:] = ["```"] + [""] * (len(self.plain) - end - 1)
        fence.body = [(n, line) for n, line in fence.body if n <= end]

    def _open(self, number, match, comment):
        text = match["fence"] + match["info"]
        if "`" in match["info"] and match["fence"][0] == "`":
            self.mistake(
                number, "code between ``` on one line; use single backticks"
            )
            self.plain.append("")
            return None, ""
        wrong = self._unsupported(match, comment)
        if wrong:
            self.mistake(number, f"{wrong} ({text.strip()!r})")
        language = LANGUAGE.match(match["info"])
        language = language[1] if language else ""
        if not language and not wrong:
            self.mistake(
                number,
                "a fence without a language; write ```python, ```bash or "
                "```text",
            )
        fence = _Fence(number, language)
        self.fences[number] = fence
        if self.waiting:
            self.tolerances[number], self.waiting = self.waiting, {}
        self.marks = []
        # The cutter knows bare languages only: `python title=...` would be
        # passed over in silence.
        self.plain.append(f"{match['indent']}```{language}")
        return fence, match["fence"]

    def _unsupported(self, match, comment):
        if comment:
            return "a fence inside an HTML comment runs; delete it"
        if match["quote"]:
            return "a fence in a quote can't run; take it out of the quote"
        if match["bullet"]:
            return (
                "a fence on a list item's own line isn't seen; put it on the "
                "next line, indented"
            )
        if match["fence"][0] == "~":
            return "a ~~~ fence isn't seen; write ``` instead"
        if len(match["fence"]) > 3:
            return "a fence has three backticks; write ``` instead"
        return None

    def _outside(self, number, line, comment):
        stripped = line.strip()
        if not comment and stripped.startswith("<!--"):
            if self._mark(number, stripped):
                is_good = self.marks and self.marks[-1][0] == number
                self.plain.append(line if is_good else "")
                return False
        elif stripped and self.marks:
            self._marks_without_fence()
        self.plain.append("")
        if "8<" in line:
            self._include_in_prose(number, line)
        self._typos(number, line)
        # Cut finished comments, then see whether one stays open.
        rest = re.sub(r"<!--.*?-->", "", line)
        if comment:
            return "-->" not in rest
        return "<!--" in rest

    def _typos(self, number, line):
        """What no page means, and Markdown takes without a word."""
        if CONFLICT.match(line):
            text = "a merge conflict; keep one of its two sides"
            self.mistake(number, f"{text} ({line.strip()!r})")
        box = BOX.match(line)
        if box and box["type"] not in BOXES.split(", "):
            self.mistake(
                number,
                f"there is no box {box['type']!r}; write one of {BOXES}",
            )

    def _include_in_prose(self, number, line):
        bare = re.sub(r"`[^`]*`", "", line)
        if "8<-" in bare or MARK.match(line):
            self.mistake(
                number,
                "an include outside a fence; put ```python above it and ``` "
                "below",
            )

    def _mark(self, number, text):
        """Take a mark; returns whether the line is one, or meant as one."""
        tolerance = TOLERANCE_MARK.fullmatch(text)
        skip = SKIP_MARK.fullmatch(text)
        if tolerance:
            key = "figure_tolerance" if tolerance["figure"] else "tolerance"
            self.waiting[key] = float(tolerance["value"])
        elif skip:
            if not _string(skip[1]).strip():
                self.mistake(number, 'skip says no reason; reason="why"')
                return True
        elif text.startswith("<!--pytest.mark.skip"):
            self.mistake(
                number,
                "skip without a reason; write "
                '<!--pytest.mark.skip(reason="why")-->',
            )
            return True
        elif text != OUTPUT_MARK and not NEEDS_MARK.fullmatch(text):
            if not LOOKS_LIKE_MARK.match(text):
                return False
            self.mistake(
                number,
                f"unknown mark {text!r}, a typo? There are "
                f"{OUTPUT_MARK}, <!--pytest.mark.skip(reason=...)-->, "
                "<!--pytest-codeblocks:importorskip(module)--> and "
                "<!--runnable-pages:tolerance=0.01--> (or figure-tolerance)",
            )
            return True
        self.marks.append((number, text))
        return True

    def _marks_without_fence(self):
        for number, text in self.marks:
            self.mistake(
                number, f"{text!r} stands above no fence; move it to one"
            )
            self.plain[number - 1] = ""
        self.marks, self.waiting = [], {}

    # Blocks

    def cut(self):
        """Let pytest_codeblocks cut the page, and hold it to our reading."""
        self.plain = [
            "" if TOLERANCE_MARK.fullmatch(line.strip()) else line
            for line in self.plain
        ]
        text = "\n".join(self.plain) + "\n"
        try:
            cut = _cutter().extract_from_buffer(
                io.StringIO(text), max_num_lines=len(self.plain) + 2
            )
        except RuntimeError as error:
            line = self._line_of(OUTPUT_MARK)
            self.mistake(line, f"{error}; put the output under its block")
            return
        outputs = self._output_lines()
        seen = {block.lineno for block in cut} | set(outputs.values())
        for line in sorted(set(self.fences) - seen):
            self.mistake(line, "this fence is not seen; simplify its form")
        for block in cut:
            if block.lineno in self.fences:
                self._block(block, outputs.get(block.lineno))

    def _line_of(self, text):
        return next(
            (n for n, s in enumerate(self.plain, 1) if s.strip() == text), 1
        )

    def _output_lines(self):
        """Which fence is the output of which: {line of block: line}."""
        outputs, previous, mark = {}, None, False
        for number, line in enumerate(self.plain, 1):
            if line.strip() == OUTPUT_MARK:
                mark = True
            elif number in self.fences:
                if mark and previous is not None:
                    outputs[previous] = number
                else:
                    previous = number
                mark = False
        return outputs

    def _block(self, cut, output_line):
        fence = self.fences[cut.lineno]
        include = self._include(fence)
        output = None
        if output_line is not None:
            output = self._output(fence, self.fences[output_line], include)
        if include is None:
            return
        if include.file.endswith(".out"):
            self.mistake(
                fence.line, f"output without a block; put {OUTPUT_MARK} above"
            )
            return
        reasons = [
            _string(match[1])
            for match in map(SKIP_MARK.fullmatch, _commented(cut.marks))
            if match
        ]
        self.page.blocks.append(
            Block(
                self.page.name,
                fence.line,
                fence.language,
                include,
                output,
                skip=reasons[0] if reasons else None,
                needs=cut.importorskip,
                **self.tolerances.get(fence.line, {}),
            )
        )
        self._language(fence, include, reasons)

    def _language(self, fence, include, reasons):
        want = LANGUAGES.get(Path(include.file).suffix)
        if want and fence.language not in want:
            self.mistake(
                fence.line,
                f"{include.file} in a {fence.language or 'bare'} fence is "
                f"not run; write ```{want[0]}",
            )
        elif fence.language in RUNNABLE and not want:
            self.mistake(
                fence.line, f"{include.file} can't run as {fence.language}"
            )
        elif reasons and fence.language not in RUNNABLE:
            self.mistake(fence.line, "this block never runs; drop the skip")

    def _output(self, fence, shown, include):
        if fence.language not in RUNNABLE:
            self.mistake(
                shown.line, "output under a fence that doesn't run; move it"
            )
            return None
        if shown.language != "text":
            self.mistake(
                shown.line, f"an output as {shown.language}; write ```text"
            )
        if shown.line in self.tolerances:
            text = "a tolerance above an output; put it above the block"
            self.mistake(shown.line, text)
        output = self._include(shown)
        if output is None or include is None:
            return None
        want = (str(Path(include.file).with_suffix(".out")), include.section)
        if (output.file, output.section) != want:
            self.mistake(
                output.line,
                f'the output of "{include.section}" is {want[0]}:{want[1]}, '
                f"not {output.file}:{output.section}",
            )
        return output

    def _include(self, fence):
        """The include that is the fence's body, or None and a mistake."""
        body = [(n, line) for n, line in fence.body if line.strip()]
        if not body:
            self.mistake(fence.line, f"an empty block; {HOW}")
            return None
        good = [(n, DIRECTIVE.match(line)) for n, line in body]
        if len(body) == 1 and good[0][1]:
            return self._resolve(Include(*good[0][1].groups(), good[0][0]))
        if not any("8<" in line for _, line in body):
            number, line = body[0]
            self.mistake(
                number,
                f"code typed into a page: {line.strip()!r}; put it into a "
                f"section of a file under {self.project.snippets.name}/ and "
                "include that",
            )
            return None
        for (number, line), (_, match) in zip(body, good, strict=True):
            if not match:
                self.mistake(number, _why_no_include(line))
                return None
        self.mistake(body[1][0], "a second include in one block; split it")
        return None

    def _resolve(self, include):
        """The include, if its file and section are there."""
        if include.file not in self.files:
            self.files[include.file] = self._read(include.file)
        snippet = self.files[include.file]
        recorded = include if include.file.endswith(".out") else None
        if isinstance(snippet, str):
            self.mistake(include.line, snippet)
            return recorded
        if include.section not in snippet.sections:
            there = ", ".join(snippet.sections) or "none"
            self.mistake(
                include.line,
                f'section "{include.section}" is not in {snippet.name}; '
                f"it has: {there}"
                + _record_hint(include.file, self.page.name),
            )
            return recorded
        return include

    def _read(self, file):
        """The snippet file of that name, or what is wrong with the name."""
        base = self.project.snippets
        path = (base / file).resolve()
        if not path.is_relative_to(base):
            return f"{file} is outside {base.name}/; move it there"
        if not path.is_file():
            return self._no_file(file)
        return read_snippet(self.project, path)

    def _no_file(self, file):
        base = self.project.snippets
        there = [
            path.relative_to(base).as_posix()
            for path in base.rglob(f"*{Path(file).suffix}")
        ]
        close = difflib.get_close_matches(file, there, 1)
        hint = f"; did you mean {close[0]}?" if close else "; make it"
        hint = _record_hint(file, self.page.name) or hint
        return f"there is no {base.name}/{file}{hint}"

    def name_blocks(self):
        """Name blocks by their sections; by file too where names clash."""
        sections = [b.include.section for b in self.page.blocks]
        named = []
        for block in self.page.blocks:
            name = block.include.section
            if sections.count(name) > 1:
                name = f"{Path(block.include.file).stem}:{name}"
            named.append(replace(block, name=name))
        self.page.blocks = named


@functools.cache
def _cutter():
    """The module pytest_codeblocks.main, without the rest of its package.

    The rest is a pytest plugin, and importing pytest would slow each build.
    """
    package = importlib.util.find_spec("pytest_codeblocks")
    path = Path(package.submodule_search_locations[0]) / "main.py"
    name = "pytest_codeblocks.main"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault(name, module)  # dataclasses look there
    spec.loader.exec_module(module)
    return module


def _opens_another(line):
    """Whether a line within a fence opens the next: no section has such."""
    match = FENCE.match(line)
    return bool(match and LANGUAGE.match(match["info"]))


def _line_starting(lines, text):
    return next((n for n, s in enumerate(lines, 1) if s.startswith(text)), 1)


def _commented(marks):
    return [f"<!--{mark}-->" for mark in marks]


def _string(literal):
    try:
        value = ast.literal_eval(literal)
    except (SyntaxError, ValueError):
        return ""
    return value if isinstance(value, str) else ""


def _record_hint(file, page):
    is_output = file.endswith(".out")
    return f"; {RECORD} {page}" if is_output else ""


def _why_no_include(line):
    """What is wrong with a line that should be an include."""
    text = line.strip()
    if "8<" not in text:
        return f"a line typed beside an include: {text!r}; move it to the file"
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
