"""The named sections of a snippet file, and what is wrong with them."""

import ast
import functools
import re
import textwrap
from dataclasses import dataclass, field

from pymdownx.snippets import SnippetPreprocessor

from runnable_pages.project import Mistake, Unreadable, read_text

MARK = SnippetPreprocessor.RE_SNIPPET_SECTION
INCLUDE = SnippetPreprocessor.RE_ALL_SNIPPETS
GUARD = re.compile(r"""if __name__ == ["']__main__["']:\s*(#.*)?$""")
NAME = re.compile(r"[a-z][-_0-9a-z]*")
# What may stand at module level without doing anything when imported.
QUIET = (
    ast.Import,
    ast.ImportFrom,
    ast.FunctionDef,
    ast.AsyncFunctionDef,
    ast.ClassDef,
    ast.Assign,
    ast.AnnAssign,
)


@dataclass(frozen=True)
class Section:
    """Lines `first` to `last` of a file (without its marks), 1-based."""

    name: str
    first: int
    last: int
    indent: int
    text: str


@dataclass
class SnippetFile:
    """A snippet file as the pages see it."""

    name: str
    sections: dict = field(default_factory=dict)
    mistakes: list = field(default_factory=list)

    def order(self, section):
        """Where the section stands among the file's sections."""
        return list(self.sections).index(section)


def read_snippet(project, path):
    """Parse a snippet file. Never raises: what is wrong is in `mistakes`."""
    state = path.stat()
    return _read(project, path, state.st_mtime_ns, state.st_size)


@functools.lru_cache(maxsize=512)
def _read(project, path, *_):
    """Parse a file once for each of its states: many pages may show it."""
    snippet = SnippetFile(project.name(path))
    try:
        text = read_text(project, path)
    except Unreadable as error:
        snippet.mistakes.append(error.mistake)
        return snippet
    reader = _Reader(snippet, text.split("\n"))
    reader.read_marks()
    if path.suffix == ".py":
        reader.check_python(text)
    reader.check_lines_outside(path.suffix)
    return snippet


class _Reader:
    """Reads one file's marks from top to bottom."""

    def __init__(self, snippet, lines):
        self.snippet = snippet
        self.lines = lines
        self.inside = set()  # numbers of lines within a section
        self.marks = set()  # numbers of lines that hold a mark
        self.open = None  # (name, line of its start mark)

    def mistake(self, line, text):
        self.snippet.mistakes.append(Mistake(self.snippet.name, line, text))

    def read_marks(self):
        for number, line in enumerate(self.lines, 1):
            if "8<" not in line:
                continue
            mark = MARK.match(line)
            # pymdownx wants lower case, and says nothing where it isn't.
            if not mark or mark["escape"] or not mark["type"].islower():
                self._no_mark(number, line)
                continue
            self.marks.add(number)
            if mark["type"] == "start":
                self._start(number, mark["name"])
            else:
                self._end(number, mark["name"])
        if self.open:
            name, line = self.open
            self.mistake(
                line,
                f'section "{name}" never ends and swallows the rest of the '
                f"file; add --8<-- [end:{name}]",
            )

    def _no_mark(self, number, line):
        if INCLUDE.match(line):
            text = "a snippet can't include another; import from it instead"
        else:
            text = (
                "misspelt section mark; write --8<-- [start:name] or "
                "--8<-- [end:name], with a name of a-z, 0-9, - and _"
            )
        self.mistake(number, text)

    def _start(self, number, name):
        if self.open:
            other, line = self.open
            self.mistake(
                number,
                f'section "{name}" starts before "{other}" (line {line}) '
                f"has ended; add --8<-- [end:{other}] above",
            )
        elif not NAME.fullmatch(name):
            self.mistake(number, f'section "{name}": write lower case')
        if name in self.snippet.sections:
            self.mistake(
                number,
                f'a second section "{name}" is never shown; rename it',
            )
        self.open = (name, number)

    def _end(self, number, name):
        if self.open is None or self.open[0] != name:
            was = f'open is "{self.open[0]}"' if self.open else "none is open"
            self.mistake(
                number, f"[end:{name}] ends no section: {was}; mend the name"
            )
            return
        first, self.open = self.open[1] + 1, None
        self.inside.update(range(first, number))
        body = self.lines[first - 1 : number - 1]
        if not any(line.strip() for line in body):
            self.mistake(first - 1, f'section "{name}" is empty; fill it')
        text = textwrap.dedent("\n".join(body))
        indent = max(
            len(a) - len(b)
            for a, b in zip(body or [""], text.split("\n"), strict=True)
        )
        section = Section(name, first, number - 1, indent, text.strip("\n"))
        self.snippet.sections.setdefault(name, section)

    def check_python(self, text):
        """What only a parser sees: syntax, marks in strings, side effects."""
        try:
            tree = ast.parse(text)
        except SyntaxError as error:
            self.mistake(
                error.lineno or 1, f"Python can't read it: {error.msg}"
            )
            return
        in_code = {
            number
            for number in self.marks
            if not self.lines[number - 1].lstrip().startswith("#")
        }
        in_strings = _lines_in_strings(tree, self.marks)
        for number in sorted(in_code | in_strings):
            self.mistake(
                number,
                "a section mark inside a string cuts the page; build that "
                "string from parts",
            )
        if ast.get_docstring(tree) is None:
            self.mistake(1, "has no docstring; say in one line what it is")
        for node in tree.body:
            if self._does_something(node):
                self.mistake(
                    node.lineno,
                    "runs when the file is imported; move it under "
                    'if __name__ == "__main__":',
                )
        self.inside.update(_docstring_lines(tree))

    def _does_something(self, node):
        if isinstance(node, QUIET) or _is_docstring(node):
            return False
        return not GUARD.match(self.lines[node.lineno - 1])

    def check_lines_outside(self, suffix):
        """Every line is on a page: blank ones, comments and guards aside."""
        seen = self.inside | self.marks
        for number, line in enumerate(self.lines, 1):
            if number in seen or not line.strip():
                continue
            comment = line.lstrip().startswith("#") and suffix != ".out"
            if comment or (suffix == ".py" and GUARD.match(line)):
                continue
            self.mistake(
                number,
                f"is in no section, so no page shows it: {line.strip()!r}; "
                "put it between --8<-- [start:name] and [end:name]",
            )
            return  # one line stands for the whole stretch


def _lines_in_strings(node, lines):
    """Those of the lines, given by number, that stand in a string."""
    found = set()
    for child in ast.iter_child_nodes(node):
        within = lines
        if hasattr(child, "lineno"):
            span = range(child.lineno, child.end_lineno + 1)
            within = lines.intersection(span)
        if within and isinstance(child, ast.Constant | ast.JoinedStr):
            found |= within
        elif within:
            found |= _lines_in_strings(child, within)
    return found


def _is_docstring(node):
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _docstring_lines(tree):
    if tree.body and _is_docstring(tree.body[0]):
        return range(tree.body[0].lineno, tree.body[0].end_lineno + 1)
    return ()


def imported(path):
    """What a Python file may import: (line, dotted name)."""
    try:
        code = path.read_bytes() if path.suffix == ".py" else b""
        nodes = list(ast.walk(ast.parse(code)))
    except SyntaxError:  # told where the file is read, or run
        return
    for node in nodes:
        if isinstance(node, ast.Import | ast.ImportFrom):
            base = getattr(node, "module", None)
            if base:
                yield node.lineno, base
            for alias in node.names:
                name = f"{base}.{alias.name}" if base else alias.name
                yield node.lineno, name
