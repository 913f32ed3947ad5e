"""`make lesson NAME=...`: the files of a new lesson, which pass as made.

What they hold stands in lesson/, with <<names>> to be filled in.
"""

import keyword
import re
from pathlib import Path

from runnable_pages.project import Project

NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")

TEMPLATES = Path(__file__).parent / "lesson"
FILES = {
    "docs/{folder}/{last}.md": "page.md",
    "snippets/{file}.py": "snippet.py.txt",
    "snippets/{file}.out": "snippet.out",
    "{tests}/{folder}/{test}.py": "test.py.txt",
}
# The page of its functions, where a project keeps such pages.
REFERENCE = "docs/reference/index.md"


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
    words = _words(project, folder, last)
    files = {
        path.format(**words): _filled(template, words)
        for path, template in FILES.items()
    }
    lists = {"mkdocs.yml": _with_page(project, f"{folder}/{last}.md")}
    if (project.root / REFERENCE).is_file():
        functions = f"reference/api/{last}.md"
        files[f"docs/{functions}"] = _filled("functions.md", words)
        lists |= _with_functions(project, lists["mkdocs.yml"], words)
    for path in files:
        if (project.root / path).exists():
            raise LessonError(f"{path} is there already; choose another name")
    files |= _packages(project, words)
    for path, text in (files | lists).items():
        (project.root / path).parent.mkdir(parents=True, exist_ok=True)
        (project.root / path).write_text(text, "utf-8")
    return [*files, *(f"{path} (an entry)" for path in lists)]


def _words(project, folder, last):
    """What stands for the names in the templates."""
    python = last.replace("-", "_")
    tests = project.settings.get("tests", "tests/snippets")
    return {
        "title": last.replace("-", " ").capitalize(),
        "folder": folder,
        "last": last,
        "file": f"{folder}/{python}",
        "module": f"{folder}.{python}",
        "tests": tests,
        "test": f"test_{python}",
        "test_module": f"{tests}/{folder}/test_{python}".replace("/", "."),
    }


def _filled(template, words):
    """The template's text with its <<names>> replaced."""
    text = (TEMPLATES / template).read_text("utf-8")
    return re.sub(r"<<(\w+)>>", lambda match: words[match[1]], text)


def _packages(project, words):
    """Empty __init__.py files for a section that has no lesson yet."""
    folders = [
        f"snippets/{words['folder']}",
        f"{words['tests']}/{words['folder']}",
    ]
    return {
        path: ""
        for path in (f"{folder}/__init__.py" for folder in folders)
        if not (project.root / path).exists()
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
