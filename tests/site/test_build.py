"""The built site is the pages, and shows the very text that runs."""

import ast
import io
import re
import shutil
import subprocess
import sys
import textwrap
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from pytest_codeblocks.main import extract_from_buffer

from runnable_pages.check import check
from runnable_pages.page import read_page
from runnable_pages.project import Project
from runnable_pages.scaffold import make_lesson
from tests.site.conftest import (
    ENVIRONMENT,
    ROOT,
    code_blocks,
    html_of,
    once,
    page_names,
)

PROJECT = Project.load(ROOT)
PAGES = page_names()
RUNNABLE = [
    name
    for name in PAGES
    if any(
        block.language == "python"
        for block in read_page(PROJECT, PROJECT.docs / name).runnable()
    )
]


def expected(name):
    """What a page must show: the text of each block and output."""
    for block in read_page(PROJECT, PROJECT.docs / name).blocks:
        yield block.include.text
        if block.output:
            yield block.output.text


def test_the_build_is_strict_and_silent(built):
    """`mkdocs build --strict` ends well, without one warning."""
    log = (built / "log.txt").read_text("utf-8")
    assert (built / "status.txt").read_text() == "0", log
    assert "WARNING" not in log
    assert "ERROR" not in log


@pytest.mark.parametrize("name", PAGES)
def test_a_page_shows_the_very_text_that_runs(built, name):
    """Each code block in the HTML, in order, is the text of its section."""
    shown = [text for _, text in code_blocks(html_of(name, built))]
    wanted = [text.strip("\n") for text in expected(name)]
    assert [s.strip("\n") for s in shown] == wanted


class Links(HTMLParser):
    """What an HTML page links to, loads, and offers as anchors."""

    def __init__(self):
        super().__init__()
        self.links, self.loads, self.ids = [], [], set()

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.ids |= {attrs[k] for k in ("id", "name") if attrs.get(k)}
        if tag == "a" and attrs.get("href"):
            self.links.append(attrs["href"])
        relation = attrs.get("rel") or ""
        if tag in ("script", "img", "iframe", "source") and attrs.get("src"):
            self.loads.append(attrs["src"])
        if (
            tag == "link"
            and attrs.get("href")
            and (
                "stylesheet" in relation
                or "icon" in relation
                or "preload" in relation
                or "preconnect" in relation
            )
        ):
            self.loads.append(attrs["href"])


def links_of(path):
    """The Links of an HTML file."""
    links = Links()
    links.feed(path.read_text("utf-8"))
    return links


def test_nothing_loads_from_another_host(built):
    """Every script, style, font, icon and picture is the site's own."""
    pages = list(built.rglob("*.html"))
    assert len(pages) >= len(PAGES)
    for path in pages:
        for url in links_of(path).loads:
            assert not urlsplit(url).netloc, f"{path}: {url}"
    for path in built.rglob("*.css"):
        # A data: address is no host, and neither is a namespace in it.
        text = re.sub(r'url\("?data:[^)]*\)', "", path.read_text("utf-8"))
        assert not re.search(r"url\([\"']?(https?:)?//", text), path


def test_every_link_within_the_site_arrives(built):
    """Files and anchors are there, those of docstrings included."""
    pages = {path: links_of(path) for path in built.rglob("*.html")}
    dead = [
        f"{path.relative_to(built)}: {href}"
        for path, links in pages.items()
        for href in links.links
        if path.name != "404.html" and not arrives(path, href, pages)
    ]
    assert dead == []


def test_no_markdown_reaches_a_reader(built):
    """A link or emphasis in a caption, say, where Markdown isn't read."""
    left = re.compile(r"\]\([^)\s]+\)|\*\*|\$\$|\]\[")
    for name in PAGES:
        text = html_of(name, built).read_text("utf-8")
        for tag in ("pre", "code", "script", "style"):
            text = re.sub(rf"<{tag}\b.*?</{tag}>", "", text, flags=re.S)
        assert left.findall(re.sub(r"<[^>]+>", "", text)) == [], name


def test_the_reference_lists_what_can_be_imported(built):
    """All public names at a module's top level, and none below its guard."""
    for path in sorted((PROJECT.docs / "reference/api").glob("*.md")):
        modules = re.findall(r"^::: (\S+)", path.read_text("utf-8"), re.M)
        ids = links_of(html_of(f"reference/api/{path.name}", built)).ids
        shown = {name for name in ids if name.startswith("snippets.")}
        tops = {
            f"{module}.{node.name}"
            for module in modules
            for node in top_level(module)
        }
        own = {name for name in shown if name.rpartition(".")[0] in modules}
        assert own == tops, path.name


def top_level(module):
    """The public functions and classes that an import of it defines."""
    definitions = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    code = ROOT / (module.replace(".", "/") + ".py")
    return [
        node
        for node in ast.parse(code.read_bytes()).body
        if isinstance(node, definitions) and not node.name.startswith("_")
    ]


def test_claims_of_tests_stand_with_their_names(built):
    """A lesson ends with what its tests check, in words, and their names."""
    page = html_of("fundamentals/gradient-descent.md", built)
    text = re.sub(r"<wbr\s*/?>", "", page.read_text("utf-8"))
    name = "test_bisection_finds_two_over_the_largest_curvature"
    assert f"<code>{name}</code>" in text
    assert "starts to diverge is 2 / largest curvature" in text


def test_the_reference_lists_what_every_lesson_defines(built):
    """Each lesson has a page of its functions, and the reference names it."""
    lessons = {
        Path(name).stem
        for name in RUNNABLE
        if name.split("/")[0] != "blog" and Path(name).stem != "set-up"
    }
    index = links_of(html_of("reference/index.md", built)).links
    listed = {Path(x).name for x in index if x.startswith("api/")}
    assert listed == lessons


def arrives(path, href, pages):
    """Whether a link of the page at `path` leads to what is there."""
    url = urlsplit(href)
    if url.scheme or url.netloc:
        return True
    target = path
    if url.path:
        target = (path.parent / unquote(url.path)).resolve()
        target = target / "index.html" if target.is_dir() else target
    if not url.fragment or target not in pages:
        return target.is_file()
    return unquote(url.fragment) in pages[target].ids


def bare(text):
    """Text without blank lines and indentation around it.

    Of an indented fence, pytest_codeblocks 0.18 leaves out the blank lines.
    """
    lines = [line for line in text.split("\n") if line.strip()]
    return textwrap.dedent("\n".join(lines))


LANGUAGE = re.compile(r"^([ \t]*)```[ {.]*([\w-]*).*$")


def as_cutters_read_it(page):
    """The page with its includes resolved, in a form that all cutters know.

    pytest_codeblocks passes over fences whose info is more than a language.
    """
    texts = {include.line: include.text for include in page.includes}
    lines = []
    for number, line in enumerate(page.text.split("\n"), 1):
        if number in texts:
            indent = line[: len(line) - len(line.lstrip())]
            block = texts[number].rstrip("\n").split("\n")
            lines += [indent + text if text else "" for text in block]
        elif not re.search(r"<!--runnable-pages", line):
            lines.append(LANGUAGE.sub(r"\1```\2", line))
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("name", RUNNABLE)
def test_another_reader_of_pages_finds_the_same_session(name):
    """pytest_codeblocks, which the marks are from, cuts the same blocks."""
    page = read_page(PROJECT, PROJECT.docs / name)
    text = as_cutters_read_it(page)
    cut = extract_from_buffer(io.StringIO(text), max_num_lines=10**5)
    theirs = [
        (bare(block.code), bare(block.expected_output or ""))
        for block in cut
        if block.syntax in ("python", "bash", "sh")
    ]
    ours = [
        (bare(b.include.text), bare(b.output.text if b.output else ""))
        for b in page.runnable()
    ]
    assert theirs == ours


def test_a_lesson_made_in_each_section_builds(tmp_path):
    """`make lesson` anywhere, and the site still builds without a warning."""
    copy = tmp_path / "copy"
    left_out = (".git", ".venv", ".cache", ".*_cache", "site", "__pycache__")
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(*left_out))
    sections = [p.parent.name for p in PROJECT.docs.glob("*/index.md")]
    made = [s for s in sections if s not in ("reference", "blog")]
    assert len(made) >= 6
    for section in made:
        make_lesson(copy, f"{section}/zz-new-in-{section}")
    assert check(copy) == []
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict"],
        cwd=copy,
        env={**ENVIRONMENT, "PYTHONPATH": str(copy)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for section in made:
        page = copy / f"site/{section}/zz-new-in-{section}/index.html"
        assert "mean of a thousand numbers" in page.read_text("utf-8")


@pytest.fixture(scope="session")
def zensical_site(tmp_path_factory):
    """The site as Zensical builds it, from a copy, with its log."""
    pytest.importorskip("zensical", reason="zensical doesn't install here")

    def make(folder):
        copy = folder.with_name("zensical-source")
        shutil.copytree(
            ROOT,
            copy,
            ignore=shutil.ignore_patterns(
                *(".git", ".venv", ".cache", ".*_cache", "site"),
                *("__pycache__", "*.egg-info"),
            ),
        )
        done = subprocess.run(
            [sys.executable, "-m", "zensical", "build", "--clean"],
            cwd=copy,
            env=ENVIRONMENT,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        shutil.move(copy / "site", folder)

    return once(tmp_path_factory, "zensical", make)


@pytest.mark.parametrize("name", PAGES)
def test_zensical_builds_the_same_blocks(built, zensical_site, name):
    """The successor of Material, from the same mkdocs.yml, shows the same."""
    theirs = code_blocks(html_of(name, zensical_site))
    ours = code_blocks(html_of(name, built))
    assert [t.strip("\n") for _, t in theirs] == [
        t.strip("\n") for _, t in ours
    ]
