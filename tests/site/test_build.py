"""The built site is the pages, and shows the very text that runs."""

import ast
import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from runnable_pages.memory import fingerprint, sources
from runnable_pages.pages import read_page

from runnable_pages.compare import compare_text
from runnable_pages.project import Project
from runnable_pages.pytest_plugin import (
    not_run,
    printed_in_new_interpreter,
)
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
    """What a page must show, from its blocks: (block, text, is output)."""
    for block in read_page(PROJECT, PROJECT.docs / name).blocks:
        include = block.include
        yield block, PROJECT.include(include.file, include.section), False
        if block.output:
            output = block.output
            yield block, PROJECT.include(output.file, output.section), True


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
    wanted = [text for _, text, _ in expected(name)]
    assert [s.strip("\n") for s in shown] == [w.strip("\n") for w in wanted]


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
    code = ROOT / (module.replace(".", "/") + ".py")
    return [
        node
        for node in ast.parse(code.read_bytes()).body
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
        and not node.name.startswith("_")
    ]


def test_claims_of_tests_stand_with_their_names(built):
    """A lesson ends with what its tests check, in words, and their names."""
    page = html_of("fundamentals/gradient-descent.md", built)
    text = re.sub(r"<wbr\s*/?>", "", page.read_text("utf-8"))
    assert "<code>test_bisection_starts_from_its_bounds</code>" in text
    assert "they lie within the bounds" in text


def test_the_reference_lists_what_every_lesson_defines(built):
    """Each lesson has a page of its functions, and the reference names it."""
    lessons = {
        Path(name).stem
        for name in RUNNABLE
        if name.split("/")[0] not in ("start", "blog")
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


INTERPRETER = """\
import json, sys
blocks = json.load(open(sys.argv[1]))
for number, block in enumerate(blocks):
    print(f"\\x1e{number}", flush=True)
    exec(compile(block, f"<paste {number}>", "exec"))
"""


# One that takes seconds, so that pasting itself is tried at each change.
ALWAYS_PASTED = "blog/posts/welcome.md"


def copied(name, built):
    """The Python blocks of a page's HTML: [code, output shown, block]."""
    blocks = []
    shown = [text for _, text in code_blocks(html_of(name, built))]
    for (block, _, is_output), text in zip(expected(name), shown, strict=True):
        if block.language != "python" or not_run(block):
            continue
        if is_output:
            blocks[-1][1] = text
        else:
            blocks.append([text, "", block])
    return blocks


def paste(codes, folder, threads):
    """What each piece of code prints, one after the other, when pasted."""
    (folder / "blocks.json").write_text(json.dumps(codes), "utf-8")
    (folder / "paste.py").write_text(INTERPRETER, "utf-8")
    done = subprocess.run(
        [sys.executable, "paste.py", "blocks.json"],
        cwd=folder,
        env={
            **ENVIRONMENT,
            "PYTHONPATH": str(ROOT),
            "MPLBACKEND": "agg",
            "OMP_NUM_THREADS": str(threads),
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    printed = [text.partition("\n")[2] for text in done.stdout.split("\x1e")]
    return printed[1:]


@pytest.mark.parametrize("name", RUNNABLE)
def test_pasting_a_page_prints_what_it_shows(
    built, name, tmp_path, pytestconfig, remembered
):
    """Blocks copied from the HTML run in a fresh interpreter, as shown.

    A page that just ran in one (`pytest --fresh`) needn't run a second time,
    if it was the same code to the letter.
    """
    blocks = copied(name, built)
    codes = [code.strip("\n") for code, _, _ in blocks]
    page = read_page(PROJECT, PROJECT.docs / name)
    files = sources(PROJECT, page) | {Path(__file__)}
    passed = remembered(fingerprint(files, codes))
    ran = printed_in_new_interpreter(pytestconfig, page) or []
    ran = [(code, out) for kind, code, out in ran if kind == "python"]
    same = [code.strip("\n") for code, _ in ran] == codes
    if same and name != ALWAYS_PASTED:
        printed = [out for _, out in ran]
    else:
        printed = paste(codes, tmp_path, page.settings.get("threads", 1))
    for (_, shown, block), text in zip(blocks, printed, strict=True):
        tolerance = block.tolerance or page.settings.get("tolerance", 1e-2)
        difference = compare_text(shown, text, tolerance)
        assert not difference, f"{block.name}:\n{difference}"
    passed()


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
