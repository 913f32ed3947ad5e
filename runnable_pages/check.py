"""The sync checks: all that can be seen of pages and snippets at rest."""

import importlib.util
from collections import Counter, defaultdict
from pathlib import Path

from runnable_pages import rendered
from runnable_pages.pages import RECORD, read_page
from runnable_pages.project import Mistake, Project, Unreadable
from runnable_pages.prose import prose_mistakes
from runnable_pages.record import figure_files
from runnable_pages.results import result_mistakes
from runnable_pages.sections import imported, read_snippet

PICTURES = (".svg", ".png", ".jpg", ".jpeg", ".gif", ".webp")


def check(root):
    """Every mistake of the project at `root`, sorted. Runs no page."""
    try:
        project = Project.load(root)
    except Unreadable as error:
        return [error.mistake]
    pages = [read_page(project, path) for path in project.pages()]
    snippets = {
        path.relative_to(project.snippets).as_posix(): read_snippet(
            project, path
        )
        for path in project.snippet_files()
    }
    mistakes = list(project.mistakes)
    for part in (*pages, *snippets.values()):
        mistakes += part.mistakes
    for page in pages:
        mistakes += order_mistakes(page, snippets)
        mistakes += mark_mistakes(project, page)
    mistakes += unused_sections(project, pages, snippets)
    mistakes += site_mistakes(project, pages, snippets)
    mistakes += nav_mistakes(project)
    mistakes += missing_tests(project, snippets)
    mistakes += shared_outputs(snippets)
    mistakes += import_mistakes(project)
    for path in sorted(project.snippets.rglob("*.results.json")):
        mistakes += result_mistakes(project, path)
    return sorted(set(mistakes))


def order_mistakes(page, snippets):
    """Sections that a page shows twice, or not in their file's order."""
    mistakes, shown = [], defaultdict(list)
    for block in page.blocks:
        file, section = block.include.file, block.include.section
        snippet = snippets.get(file)
        if snippet is None or section not in snippet.sections:
            continue
        before = shown[file]
        if section in before:
            text = f'section "{section}" is on this page twice; drop one'
            mistakes.append(Mistake(page.name, block.line, text))
        elif before and snippet.order(section) < max(
            map(snippet.order, before)
        ):
            text = (
                f'section "{section}" stands before "{before[-1]}" in '
                f"{snippet.name}, but after it here; mend one of the two"
            )
            mistakes.append(Mistake(page.name, block.line, text))
        before.append(section)
    return mistakes


def mark_mistakes(project, page):
    """Marks that could never have an effect, or always have one."""
    mistakes = []
    for block in page.blocks:
        needs = (block.needs or "").partition(".")[0]
        if needs and not (
            needs in project.packages or importlib.util.find_spec(needs)
        ):
            text = (
                f"importorskip({block.needs}) skips this block everywhere: "
                "pyproject.toml installs no such package; mend the name"
            )
            mistakes.append(Mistake(page.name, block.line, text))
        figure, _ = figure_files(project, page, block)
        if block.figure_tolerance is not None and not figure.is_file():
            text = f"a figure-tolerance without a figure; {RECORD}, or drop it"
            mistakes.append(Mistake(page.name, block.line, text))
    return mistakes


def unused_sections(project, pages, snippets):
    """Sections and files that no page shows."""
    if any(page.is_unreadable for page in pages):
        return []  # a page that can't be read may show them all
    used = {
        (include.file, include.section)
        for page in pages
        for include in page.includes()
    }
    mistakes = []
    for file, snippet in snippets.items():
        if not snippet.sections and not snippet.mistakes:
            text = "has no section, so no page shows it; mark one or delete it"
            mistakes.append(Mistake(snippet.name, 1, text))
        for name, section in snippet.sections.items():
            if (file, name) in used:
                continue
            what, cure = "section", "show it, or delete it"
            if file.endswith(".out"):
                what, cure = "output", f"{RECORD} on its page"
            text = f'{what} "{name}" is on no page; {cure}'
            mistakes.append(Mistake(snippet.name, section.first - 1, text))
    return mistakes


def site_mistakes(project, pages, snippets):
    """What only the pages' HTML shows: code, pictures, links, anchors."""
    converter = rendered.renderer(project)
    htmls, used, mistakes = {}, set(), []
    sound = {page.name: is_sound(page, snippets) for page in pages}
    for page in pages:
        html = rendered.render(page, converter, sound[page.name])
        htmls[page.name] = rendered.parse_html(html)
        mistakes += prose_mistakes(page, html)
    anchors = {
        project.root / page.name: htmls[page.name].ids
        for page in pages
        if not page.is_unreadable
    }
    for page in pages:
        html = htmls[page.name]
        if sound[page.name]:
            mistakes += rendered.code_mistakes(project, page, html)
        mistakes += rendered.host_mistakes(page, html)
        mistakes += rendered.formula_mistakes(page, html)
        mistakes += rendered.image_mistakes(project, page, html, used)
        mistakes += rendered.link_mistakes(project, page, html, anchors)
    return mistakes + unused_pictures(project, used)


def is_sound(page, snippets):
    """Whether the page's includes can be rendered."""
    files = {block.include.file for block in page.blocks}
    broken = {file for file in files if snippets[file].mistakes}
    return not page.mistakes and not broken


def unused_pictures(project, used):
    """Pictures under docs/ that no page shows (docs/assets/ aside)."""
    return [
        Mistake(project.name(path), 1, _why_unused(project, path))
        for path in sorted(project.docs.rglob("*"))
        if path.suffix in PICTURES
        and path.resolve() not in used
        and "assets" not in path.relative_to(project.docs).parts
    ]


def _why_unused(project, path):
    page = path.parent.with_suffix(".md")
    if page.is_file():
        name = project.name(page)
        return f"{name} doesn't show this picture; show it there, or delete it"
    return "no page shows this picture; delete it"


def nav_mistakes(project):
    """Pages that the navigation leaves out, and entries without a page."""
    nav = project.config.get("nav")
    if not nav:
        return []
    count = Counter(item for item in _leaves(nav) if item.endswith(".md"))
    listed = count.keys()
    mistakes = [
        Mistake(
            "mkdocs.yml",
            _config_line(project, name),
            f"nav names {name}, which is not under {project.docs.name}/; "
            "mend it",
        )
        for name in sorted(listed)
        if not (project.docs / name).is_file()
    ]
    for path in project.pages():
        name = path.relative_to(project.docs).as_posix()
        if count[name] > 1:
            line = _config_line(project, name)
            text = f"nav names {name} {count[name]} times; keep one"
            mistakes.append(Mistake("mkdocs.yml", line, text))
        # The blog plugin lists its posts by itself.
        if name not in listed and "/posts/" not in name:
            text = "is not in the navigation; add it to nav in mkdocs.yml"
            mistakes.append(Mistake(project.name(path), 1, text))
    return mistakes


def shared_outputs(snippets):
    """Commands whose outputs would go into the file of a Python snippet."""
    return [
        Mistake(
            snippet.name,
            1,
            f"{Path(file).with_suffix('.py').name} records its outputs in the "
            "same .out file; give one of the two another name",
        )
        for file, snippet in snippets.items()
        if file.endswith(".sh")
        and Path(file).with_suffix(".py").as_posix() in snippets
    ]


def import_mistakes(project):
    """Lessons that import from one which readers meet later."""
    nav = _leaves(project.config.get("nav") or [])
    place = {
        name.removesuffix(".md").replace("-", "_").replace("/", "."): number
        for number, name in enumerate(nav)
    }
    mistakes = []
    for path in project.snippet_files():
        file = path.relative_to(project.snippets).with_suffix("").as_posix()
        own = place.get(file.replace("/", "."), len(place))
        for line, name in imported(path):
            module = name.removeprefix(f"{project.snippets.name}.")
            if module != name and place.get(module, -1) > own:
                text = (
                    f"imports {name}, a lesson that comes later; "
                    "import earlier lessons only"
                )
                mistakes.append(Mistake(project.name(path), line, text))
    return mistakes


def _leaves(nav):
    for item in nav:
        for value in item.values() if isinstance(item, dict) else [item]:
            if isinstance(value, list):
                yield from _leaves(value)
            elif isinstance(value, str):
                yield value


def _config_line(project, text):
    lines = (project.root / "mkdocs.yml").read_text("utf-8").split("\n")
    return next((n for n, line in enumerate(lines, 1) if text in line), 1)


def missing_tests(project, snippets):
    """Python snippets that no test pins down."""
    mistakes = []
    for file, snippet in snippets.items():
        path = Path(file)
        if path.suffix != ".py":
            continue
        test = "tests/snippets" / path.with_name(f"test_{path.name}")
        if not (project.root / test).is_file():
            text = f"has no test; write {test.as_posix()}"
            mistakes.append(Mistake(snippet.name, 1, text))
    return mistakes
