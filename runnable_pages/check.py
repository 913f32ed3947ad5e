"""The sync checks: all that can be seen of pages and snippets at rest.

MkDocs itself says what is wrong with navigation, links, anchors and front
matter: it reads and renders the pages as for a build, and writes nothing.
"""

import contextlib
import logging
import re
from collections import Counter, defaultdict
from pathlib import Path
from posixpath import join, normpath
from urllib.parse import unquote, urlsplit

from mkdocs.config import load_config
from mkdocs.exceptions import Abort, BuildError, ConfigurationError
from mkdocs.structure.files import get_files, set_exclusions
from mkdocs.structure.nav import get_navigation
from mkdocs.structure.pages import Page as SitePage

from runnable_pages import hook
from runnable_pages.page import RECORD
from runnable_pages.project import (
    HIGHLIGHT,
    PLAIN,
    Mistake,
    Project,
    Unreadable,
)
from runnable_pages.results import result_mistakes
from runnable_pages.sections import imported, read_snippet

PICTURES = (".svg", ".png", ".jpg", ".jpeg", ".gif", ".webp")
# Plugins that tell nothing of pages, and take their time.
LEFT_OUT = ("search", "mkdocstrings")
FIGURE = re.compile(r"(?P<stem>.+?)(?P<dark>-dark)?\.svg")
LINK = re.compile(
    r"Doc file '(?P<page>.+?)' contains .*?link '(?P<link>.*?)',"
)


def check(root):
    """Every mistake of the project at `root`, sorted. Runs no page."""
    try:
        project = Project.load(root)
    except Unreadable as error:
        return [error.mistake]
    if project.mistakes:
        return sorted(project.mistakes)
    pages, mistakes, complete = read_site(project)
    snippets = {
        path.relative_to(project.snippets).as_posix(): read_snippet(
            project, path
        )
        for path in project.snippet_files()
    }
    for snippet in snippets.values():
        mistakes += snippet.mistakes
    if not complete:  # what isn't read would be missed everywhere
        return sorted(set(mistakes))
    mistakes += unused_sections(pages, snippets)
    mistakes += picture_mistakes(project, pages)
    mistakes += repeated_in_nav(project)
    mistakes += missing_tests(project, snippets)
    mistakes += shared_outputs(snippets)
    mistakes += import_mistakes(project)
    for path in sorted(project.snippets.rglob("*.results.json")):
        mistakes += result_mistakes(project, path)
    return sorted(set(mistakes))


# What MkDocs says


class _Told(logging.Handler):
    """Collects warnings as mistakes."""

    def __init__(self, project):
        super().__init__(logging.WARNING)
        self.project, self.mistakes = project, []

    def emit(self, record):
        if record.args and isinstance(record.args[0], Mistake):
            self.mistakes.append(record.args[0])
        else:
            self.mistakes += in_our_words(self.project, record.getMessage())


def read_site(project):
    """The pages by path from docs/, the mistakes, and whether all was read.

    {src_uri: (Page, url)}.
    """
    log = logging.getLogger("mkdocs")
    told = _Told(project)
    level, spread, log.propagate = log.level, log.propagate, False
    log.addHandler(told)
    log.setLevel(logging.WARNING)
    urls, complete = {}, False
    try:
        urls, complete = _render_all(project)
    except (Abort, BuildError, ConfigurationError) as error:
        if str(error) and not told.mistakes:
            told.mistakes.append(Mistake("mkdocs.yml", 1, str(error)))
    finally:
        log.removeHandler(told)
        log.setLevel(level)
        log.propagate = spread
    pages = {
        uri: (page, urls.get(uri, uri))
        for uri, page in hook._Build.pages.items()
    }
    unread = {page.name for page, _ in pages.values() if not page.text}
    mistakes = [
        mistake
        for mistake in told.mistakes
        # What a page that can't be read lacks is no mistake of its readers.
        if not any(f"'{name[5:]}' does not" in mistake.text for name in unread)
    ]
    return pages, mistakes, complete


def _render_all(project):
    """Read and render all pages as MkDocs would.

    Returns their URLs, and whether each could be built.
    """
    with contextlib.chdir(project.root):
        config = _config(project)
        plugins = config.plugins
        plugins.on_startup(command="build", dirty=False)
        config = hook.on_config(plugins.on_config(config))
        files = get_files(config)
        files.add_files_from_theme(config.theme.get_env(), config)
        files = hook.on_files(plugins.on_files(files, config=config), config)
        set_exclusions(files, config)
        nav = get_navigation(files, config)
        plugins.on_nav(nav, config=config, files=files)
        pages = [
            file.page or SitePage(None, file, config)
            for file in files.documentation_pages()
        ]
        complete = all([_render(page, config, files) for page in pages])
        level = config.validation.links.anchors
        for page in pages:
            page.validate_anchor_links(files=files, log_level=level)
        return {page.file.src_uri: page.file.url for page in pages}, complete


def _config(project):
    plugins = [
        plugin
        for plugin in project.config.get("plugins") or []
        if not ({plugin} if isinstance(plugin, str) else {*plugin})
        & {*LEFT_OUT}
    ]
    config = load_config(
        str(project.root / "mkdocs.yml"), plugins=plugins, hooks=[]
    )
    if HIGHLIGHT not in config.markdown_extensions:
        config.markdown_extensions.append(HIGHLIGHT)
    old = config.mdx_configs.get(HIGHLIGHT, {})
    config.mdx_configs[HIGHLIGHT] = {**old, **PLAIN}
    return config


def _render(page, config, files):
    """One page, through the plugins' events and ours. False if it can't."""
    plugins, uri = config.plugins, page.file.src_uri
    try:
        page = plugins.on_pre_page(page, config=config, files=files)
        page.read_source(config)
        common = {"page": page, "config": config, "files": files}
        text = plugins.on_page_markdown(page.markdown, **common)
        page.markdown = hook.on_page_markdown(text, **common)
        page.render(config, files)
        html = plugins.on_page_content(page.content, **common)
        page.content = hook.on_page_content(html, **common)
    except Exception as error:  # extensions and plugins raise what they like
        text = " ".join(f"{type(error).__name__}: {error}".split())
        mistake = Mistake(f"docs/{uri}", 1, f"can't be built: {text}; mend it")
        hook.log.warning("%s", mistake)
        return False
    return True


def in_our_words(project, message):
    """MkDocs' warning as mistakes, with the place that it names."""
    if link := LINK.match(message):
        return [_link_mistake(project, link, message)]
    if "not included in the" in message:
        return [
            Mistake(
                f"{project.docs.name}/{name}",
                1,
                "is not in the navigation; add it to nav in mkdocs.yml",
            )
            for name in re.findall(r"^  - (\S+)", message, re.M)
        ]
    if nav := re.match(r"A reference to '(.+?)' is included", message):
        text = f"nav names {nav[1]}, which is not under {project.docs.name}/; "
        line = _config_line(project, nav[1])
        return [Mistake("mkdocs.yml", line, f"{text}mend it")]
    return [Mistake("mkdocs.yml", 1, " ".join(message.split()))]


def _link_mistake(project, told, message):
    """A link to what isn't there, at the line where it stands."""
    name, link = f"{project.docs.name}/{told['page']}", told["link"]
    path = project.root / name
    lines = path.read_text("utf-8-sig").split("\n") if path.is_file() else []
    # As it was typed, or with what Markdown makes of it.
    typed = unquote(link)
    line = next((n for n, s in enumerate(lines, 1) if typed in s), 1)
    cure = "mend it"
    if link.startswith(f"{path.stem}/") and ".svg" in link:
        cure = f"{RECORD} {name}"
    what = re.sub(r"Doc file '.*?' contains ", "", message)
    return Mistake(name, line, f"{what.strip()}; {cure}")


# Sections and files


def unused_sections(pages, snippets):
    """Sections and files that no page shows."""
    if any(page.mistakes and not page.text for page, _ in pages.values()):
        return []  # a page that can't be read may show them all
    used = {
        (include.file, include.section)
        for page, _ in pages.values()
        for include in page.includes
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


def repeated_in_nav(project):
    """Pages that the navigation names twice: MkDocs takes the last."""
    count = Counter(_leaves(project.config.get("nav") or []))
    return [
        Mistake(
            "mkdocs.yml",
            _config_line(project, name),
            f"nav names {name} {times} times; keep one",
        )
        for name, times in count.items()
        if times > 1
    ]


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


def missing_tests(project, snippets):
    """Python snippets that no test pins down."""
    folder = Path(project.settings.get("tests", "tests/snippets"))
    mistakes = []
    for file, snippet in snippets.items():
        if not file.endswith(".py"):
            continue
        test = folder / Path(file).with_name(f"test_{Path(file).name}")
        if not (project.root / test).is_file():
            text = f"has no test; write {test.as_posix()}"
            mistakes.append(Mistake(snippet.name, 1, text))
        for path in (Path(snippet.name), test):
            package = path.with_name("__init__.py").as_posix()
            if not (project.root / package).is_file():
                text = (
                    f"can't be imported by its name; make an empty {package}"
                )
                mistakes.append(Mistake(snippet.name, 1, text))
    return mistakes


# Pictures


def picture_mistakes(project, pages):
    """Pictures without words or without their partner, or on no page."""
    mistakes, used = [], set()
    for page, url in pages.values():
        shown = dict(page.images)
        figures = defaultdict(set)  # which blocks have one
        for src, alt in page.images:
            if src.startswith(("http:", "https:", "//", "data:")):
                continue  # told where the page is read
            # As typed: MkDocs writes it from the page's address.
            bare = src.partition("#")[0]
            target = normpath(join(url, unquote(urlsplit(bare).path)))
            used.add((project.docs / target).resolve())
            figures[Path(target).stem].add(target)
            name = src.removeprefix("../")
            line = page.line_of(name)
            if not (alt or "").strip():
                text = f"{name} has no alt text; say what the picture shows"
                mistakes.append(Mistake(page.name, line, text))
            if why := _pair_mistake(src, shown):
                mistakes.append(Mistake(page.name, line, why))
        mistakes += _tolerances_without_figure(page, figures)
    return mistakes + _unused_pictures(project, used)


def _pair_mistake(src, shown):
    """Each figure is shown light and dark, with the same words."""
    file, _, variant = src.partition("#")
    match = FIGURE.fullmatch(file)
    name = src.removeprefix("../")
    if not match or variant not in ("only-light", "only-dark"):
        return f"{name} needs #only-dark" if match and match["dark"] else ""
    if (variant == "only-dark") != bool(match["dark"]):
        return f"{name}: name-dark.svg goes with #only-dark, and only that"
    other = (
        f"{match['stem']}.svg#only-light"
        if match["dark"]
        else f"{match['stem']}-dark.svg#only-dark"
    )
    if other not in shown:
        return f"{name} needs {other.removeprefix('../')} beside it"
    if shown[other] != shown[src]:
        return f"{name} and its other colours need the same alt text"
    return ""


def _tolerances_without_figure(page, figures):
    return [
        Mistake(
            page.name,
            block.line,
            f"a figure-tolerance without a figure; {RECORD}, or drop it",
        )
        for block in page.blocks
        if block.figure_tolerance is not None
        and block.name.replace(":", "-") not in figures
    ]


def _unused_pictures(project, used):
    """Pictures under docs/ that no page shows (docs/assets/ aside)."""
    mistakes = []
    for path in sorted(project.docs.rglob("*")):
        place = path.relative_to(project.docs).parts
        wanted = path.suffix in PICTURES and "assets" not in place
        if not wanted or path.resolve() in used:
            continue
        page = path.parent.with_suffix(".md")
        text = "no page shows this picture; delete it"
        if page.is_file():
            name = project.name(page)
            text = f"{name} doesn't show this picture; show it, or delete it"
        mistakes.append(Mistake(project.name(path), 1, text))
    return mistakes
