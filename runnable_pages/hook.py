"""Tell authors their mistakes while MkDocs builds: in the log, on the page.

A page without mistakes passes through untouched. One with mistakes is built
all the same, so that `mkdocs serve` survives it and shows what to mend.
"""

import ast
import html
import logging
import re
from pathlib import Path

from mkdocs.exceptions import Abort

from runnable_pages import rendered
from runnable_pages.check import nav_mistakes, order_mistakes
from runnable_pages.pages import parse_page
from runnable_pages.project import Mistake, Project, Unreadable, read_text
from runnable_pages.prose import prose_mistakes
from runnable_pages.sections import read_snippet

DOCSTRINGS = re.compile(r"^[ \t]*::: ([\w.]+)(?:\n[ \t]+\S.*)*", re.M)

log = logging.getLogger("mkdocs.hooks.runnable_pages")


class _Build:
    """What the events of one build share."""

    project = None
    serving = False
    mistakes = set()
    pages = {}


def on_startup(command, dirty):
    """Remember whether an author is watching."""
    _Build.serving = command == "serve"


def on_config(config):
    """Start a build: read mkdocs.yml anew."""
    _Build.project = Project.load(Path(config.config_file_path).parent)
    _Build.mistakes, _Build.pages = set(), {}
    _tell(_Build.project.mistakes)
    _tell(nav_mistakes(_Build.project))
    return config


def on_files(files, config):
    """A page that is no text would end the build: put the reason in it."""
    for file in files.documentation_pages():
        if file.abs_src_path is None:
            continue
        try:
            read_text(_Build.project, Path(file.abs_src_path))
        except Unreadable as error:
            _tell([error.mistake])
            file.content_string = _box([error.mistake])
    return files


def on_page_markdown(markdown, page, config, files):
    """Hold a page to its snippets before it is rendered."""
    path = Path(page.file.abs_src_path or "")
    if not path.is_file() or not path.is_relative_to(_Build.project.docs):
        return markdown
    try:
        text = read_text(_Build.project, path)
    except Unreadable:
        return markdown
    parsed = parse_page(_Build.project, path, text)
    mistakes = set(parsed.mistakes)
    snippets = _snippets_of(parsed)
    for snippet in snippets.values():
        mistakes.update(snippet.mistakes)
    mistakes.update(order_mistakes(parsed, snippets))
    if _Build.serving and (unread := set(_unreadable_modules(text))):
        # mkdocstrings would end the build, and the served page hang.
        mistakes.update(unread)
        markdown = DOCSTRINGS.sub("", markdown)
    if not mistakes:
        _Build.pages[page.file.src_uri] = parsed
        return markdown
    _tell(mistakes)
    return _box(mistakes) + "\n\n" + rendered.without_includes(markdown)


def on_page_content(html, page, config, files):
    """Hold what was rendered to what the run executes."""
    parsed = _Build.pages.get(page.file.src_uri)
    project = _Build.project
    if parsed is None:
        return html
    prose = prose_mistakes(parsed, html)
    if not prose and rendered.is_right(project, parsed, html):
        return html
    seen = rendered.parse_html(html)
    mistakes = {
        *rendered.code_mistakes(project, parsed, seen),
        *rendered.host_mistakes(parsed, seen),
        *rendered.formula_mistakes(parsed, seen),
        *prose,
    }
    _tell(mistakes)
    return _box(mistakes) + html if mistakes and _Build.serving else html


def on_post_build(config):
    """A build with mistakes is not to be published."""
    if _Build.mistakes and not _Build.serving:
        count = len(_Build.mistakes)
        raise Abort(f"mistakes in pages or snippets, listed above: {count}")


def _snippets_of(parsed):
    project = _Build.project
    files = {b.include.file for b in parsed.blocks}
    return {
        file: read_snippet(project, project.snippets / file)
        for file in files
        if (project.snippets / file).is_file()
    }


def _unreadable_modules(text):
    """Files whose docstrings the page shows, and that Python can't read."""
    root = _Build.project.root
    for name in DOCSTRINGS.findall(text):
        path = (root / name.replace(".", "/")).with_suffix(".py")
        try:
            ast.parse(path.read_bytes() if path.is_file() else b"")
        except SyntaxError as error:
            told = f"Python can't read it: {error.msg}"
            yield Mistake(_Build.project.name(path), error.lineno or 1, told)


def _tell(mistakes):
    """Log each mistake once a build; under --strict a warning fails it."""
    for mistake in sorted(set(mistakes) - _Build.mistakes):
        log.warning("%s", mistake)
    _Build.mistakes |= set(mistakes)


def _box(mistakes):
    """The mistakes as a box at the top of a page."""
    lines = [Mistake(m.path, m.line, html.escape(m.text)) for m in mistakes]
    items = "".join(f"<li>{line}</li>" for line in sorted(lines))
    box = f'<div class="admonition failure"><ul>{items}</ul></div>'
    # A section mark in a message must not be taken for one.
    return re.sub(r"8<-", "8&lt;-", box)
