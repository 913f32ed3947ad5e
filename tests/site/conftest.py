"""The built site, made once for all tests of it, by any worker."""

import os
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from filelock import FileLock

from runnable_pages.project import Project

ROOT = Path(__file__).parents[2]
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, BROWSERS)), None)
ENVIRONMENT = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}


def once(tmp_path_factory, name, make):
    """The folder `name`, made by whichever worker comes first."""
    base = tmp_path_factory.getbasetemp()
    if os.environ.get("PYTEST_XDIST_WORKER"):
        base = base.parent  # the workers' common folder
    folder = base / name
    with FileLock(str(folder) + ".lock"):
        if not folder.is_dir():
            make(folder)
    return folder


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    """Folder of the site as published, with `log.txt` of its build."""

    def make(folder):
        done = subprocess.run(
            [
                *(sys.executable, "-m", "mkdocs", "build", "--strict"),
                *("--site-dir", str(folder)),
            ],
            cwd=ROOT,
            env=ENVIRONMENT,
            capture_output=True,
            text=True,
            check=False,
        )
        folder.mkdir(exist_ok=True)
        (folder / "log.txt").write_text(done.stdout + done.stderr, "utf-8")
        (folder / "status.txt").write_text(str(done.returncode))

    return once(tmp_path_factory, "site", make)


def html_of(page, site):
    """Where a page of docs/ (as "start/x.md") is in a built site."""
    path = Path(page)
    if path.name == "index.md":
        return site / path.with_name("index.html")
    return site / path.with_suffix("") / "index.html"


def page_names():
    """Every page, from docs/."""
    project = Project.load(ROOT)
    return [p.relative_to(project.docs).as_posix() for p in project.pages()]


class CodeBlocks(HTMLParser):
    """The code blocks of a page's HTML as a reader's browser copies them."""

    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.blocks = []  # [language, text], in order
        self._language = None
        self._in_code = False
        self._doc = 0

    def handle_starttag(self, tag, attrs):
        classes = (dict(attrs).get("class") or "").split()
        if tag == "div" and (self._doc or "doc" in classes):
            self._doc += 1
        elif tag == "div" and "highlight" in classes:
            named = [c for c in classes if c.startswith("language-")]
            self._language = named[0][9:] if named else ""
        elif tag == "code" and self._language is not None and not self._doc:
            self.blocks.append([self._language, ""])
            self._in_code = True

    def handle_endtag(self, tag):
        if tag == "div" and self._doc:
            self._doc -= 1
        elif tag == "code" and self._in_code:
            self._in_code, self._language = False, None

    def handle_data(self, data):
        if self._in_code:
            self.blocks[-1][1] += data


def code_blocks(path):
    """The code blocks of an HTML file: (language, text), in order."""
    parser = CodeBlocks()
    parser.feed(path.read_text("utf-8"))
    return [tuple(block) for block in parser.blocks]
