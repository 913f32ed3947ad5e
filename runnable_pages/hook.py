"""Tell authors their mistakes while MkDocs builds: in the log, on the page.

A page without mistakes passes through untouched. One with mistakes is built
all the same, so that `mkdocs serve` survives it and shows what to mend. With
`mkdocs serve --dirty`, a page counts as modified when anything that it shows
is newer.
"""

import ast
import html
import logging
import re
from pathlib import Path

from mkdocs.exceptions import Abort

from runnable_pages.page import (
    DIRECTIVE,
    read_page,
    without_dead_includes,
)
from runnable_pages.project import Mistake, Project, Unreadable, read_text
from runnable_pages.results import results_of
from runnable_pages.sections import read_snippet

DOCSTRINGS = re.compile(r"^[ \t]*::: ([\w.]+)(?:\n[ \t]+\S.*)*", re.M)

log = logging.getLogger("mkdocs.hooks.runnable_pages")


class _Build:
    """What the events of one build share, and titles those of all."""

    project = None
    serving = dirty = False
    mistakes = set()
    pages = {}  # as read, by their path from docs/
    told = {}  # mistakes found before a page was rendered
    titles = {}


def on_startup(command, dirty):
    """Remember whether an author is watching."""
    _Build.serving, _Build.dirty = command == "serve", dirty


def on_config(config):
    """Start a build: read mkdocs.yml anew."""
    _Build.project = Project.load(Path(config.config_file_path).parent)
    _Build.mistakes, _Build.pages, _Build.told = set(), {}, {}
    _tell(_Build.project.mistakes)
    return config


def on_files(files, config):
    """A page that is no text would end the build: put the reason in it."""
    for file in files.documentation_pages():
        if file.abs_src_path is None:
            continue
        path = Path(file.abs_src_path)
        try:
            text = read_text(_Build.project, path)
        except Unreadable as error:
            _tell([error.mistake])
            _Build.pages[file.src_uri] = read_page(_Build.project, path)
            file.content_string = _box([error.mistake])
            continue
        if _Build.dirty and not file.is_modified() and _is_old(file, text):
            file.is_modified = lambda: True
    return files


def on_nav(nav, config, files):
    """Pages that a dirty build doesn't read keep their titles."""
    for page in nav.pages:
        if _Build.dirty and not page.file.is_modified():
            page.title = _Build.titles.get(page.file.src_uri, page.title)
    return nav


def on_page_context(context, page, config, nav):
    """Remember the title that was built."""
    _Build.titles[page.file.src_uri] = page.title
    return context


def _is_old(file, text):
    """Whether something that the page shows is newer than its HTML."""
    project = _Build.project
    shown = [
        project.snippets / match["file"]
        for match in map(DIRECTIVE.fullmatch, text.split("\n"))
        if match
    ]
    shown += [
        (project.root / name.replace(".", "/")).with_suffix(".py")
        for name in DOCSTRINGS.findall(text)
    ]
    built = Path(file.abs_dest_path).stat().st_mtime
    times = [path.stat().st_mtime for path in shown if path.is_file()]
    return max(times, default=0) > built


def on_page_markdown(markdown, page, config, files):
    """Take out what would end the build, and remember what was wrong."""
    path = Path(page.file.abs_src_path or "")
    if not path.is_file() or not path.is_relative_to(_Build.project.docs):
        return markdown
    told = set(_unreadable_modules(markdown)) if _Build.serving else set()
    if told:  # mkdocstrings would end the build, and the served page hang
        markdown = DOCSTRINGS.sub("", markdown)
    _Build.told[page.file.src_uri] = told
    lines = without_dead_includes(_Build.project, markdown.split("\n"))
    return "\n".join(lines)


def on_page_content(html, page, config, files):
    """Hold what was rendered to what the run executes."""
    uri = page.file.src_uri
    if uri not in _Build.told:
        return html
    parsed = read_page(_Build.project, Path(page.file.abs_src_path), html)
    _Build.pages[uri] = parsed
    mistakes = {*parsed.mistakes, *_Build.told[uri]}
    for file in {i.file for i in parsed.includes if i.text}:
        path = _Build.project.snippets / file
        mistakes.update(read_snippet(_Build.project, path).mistakes)
    _tell(mistakes)
    html += _recorded(i.file for i in parsed.includes if i.text)
    return _box(mistakes) + html if mistakes and _Build.serving else html


def on_post_build(config):
    """A build with mistakes is not to be published."""
    if _Build.mistakes and not _Build.serving:
        count = len(_Build.mistakes)
        raise Abort(f"mistakes in pages or snippets, listed above: {count}")


def _recorded(files):
    """When, where and with what a page's results files were made."""
    lines = []
    for data in results_of(_Build.project, files):
        versions = ", ".join(f"{k} {v}" for k, v in data["versions"].items())
        told = f"on {data['date']}, {data['device']}, {versions}"
        command = html.escape(data["command"])
        lines.append(f"<code>{command}</code> {html.escape(told)}.")
    if not lines:
        return ""
    return f'<p class="recorded">Recorded by {" By ".join(lines)}</p>'


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
    return f'<div class="admonition failure"><ul>{items}</ul></div>'
