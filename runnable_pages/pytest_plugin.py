"""Pages as pytest tests: each block of a page is one test.

`pytest docs/x.md` runs a page; `pytest --record docs/x.md` writes its
outputs and figures from the run. Nothing else ever writes them.
"""

import functools
import importlib.util

import pytest
from pymdownx.snippets import SnippetMissingError

from runnable_pages import figures
from runnable_pages.check import check
from runnable_pages.compare import compare_text
from runnable_pages.memory import (
    PASSED,
    fingerprint,
    is_named,
    recall,
    remember,
    sources,
)
from runnable_pages.pages import read_page
from runnable_pages.project import Project, Unreadable
from runnable_pages.record import Recorder
from runnable_pages.session import PageRun, prepare

TOLERANCE = 1e-2  # relative, of numbers in outputs
FIGURE_TOLERANCE = 0.05  # of an axis's range
PROJECT = pytest.StashKey()
CHECKED = pytest.StashKey()
RECORDED = pytest.StashKey()


def pytest_addoption(parser):
    """Add --record and --fresh."""
    group = parser.getgroup("pages")
    group.addoption(
        "--record",
        action="store_true",
        help="write the outputs and figures of the pages that are run",
    )
    group.addoption(
        "--fresh",
        action="store_true",
        help="run each page in a new interpreter that has loaded nothing",
    )


def pytest_configure(config):
    """Find the project, if there is one here."""
    config.stash[PROJECT] = None
    config.stash[RECORDED] = []
    if not (config.rootpath / "mkdocs.yml").is_file():
        return
    try:
        config.stash[PROJECT] = Project.load(config.rootpath)
    except Unreadable as error:
        raise pytest.UsageError(str(error)) from None
    prepare(config.stash[PROJECT].preload)


def pytest_collect_file(file_path, parent):
    """Collect pages, and snippets and mkdocs.yml for their sync checks."""
    project = parent.config.stash[PROJECT]
    if project is None:
        return None
    if file_path.suffix == ".md" and file_path.is_relative_to(project.docs):
        return PageFile.from_parent(parent, path=file_path)
    if file_path == project.root / "mkdocs.yml":
        return SyncFile.from_parent(parent, path=file_path)
    return None


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """A page is one session: all its blocks go to the same worker."""
    if config.option.dist != "load":  # somebody wants another way
        return None
    from xdist.scheduler import LoadScopeScheduling

    class PageScheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            file = nodeid.partition("::")[0]
            return file if file.endswith(".md") else nodeid

    return PageScheduling(config, log)


def pytest_terminal_summary(terminalreporter, config):
    """Say what was recorded, or not run again."""
    skipped = terminalreporter.stats.get("skipped", [])
    if known := sum(PASSED in str(report.longrepr) for report in skipped):
        terminalreporter.line(f"{known} of those skipped {PASSED}")
    if not config.getoption("record"):
        return
    ran = "passed" in terminalreporter.stats
    nothing = "nothing changed" if ran else "nothing: no block passed"
    terminalreporter.section("recorded")
    for line in config.stash[RECORDED] or [nothing]:
        terminalreporter.line(line)


class SyncFile(pytest.File):
    """mkdocs.yml stands for the project: what belongs to no page."""

    def collect(self):
        """One item: the mistakes outside pages."""
        if not self.config.getoption("record"):
            yield SyncItem.from_parent(self, name="sync")


class PageFile(pytest.File):
    """A page: its sync check, and its blocks in order."""

    def collect(self):
        """One item for the sync check, one for each block that runs."""
        project = self.config.stash[PROJECT]
        self.page = read_page(project, self.path)
        self.page_run = None
        self.recorder = Recorder(project, self.page)
        self.failed = None
        self.passed = []
        if not self.config.getoption("record"):
            yield SyncItem.from_parent(self, name="sync")
        for index, block in enumerate(self.page.runnable()):
            item = BlockItem.from_parent(self, name=block.name)
            item.index, item.block = index, block
            yield item

    @functools.cached_property
    def _fingerprint(self):
        project = self.config.stash[PROJECT]
        return fingerprint(sources(project, self.page))

    @functools.cached_property
    def passed_before(self):
        """Whether all blocks passed before; False for a page that is named."""
        known = recall(self.config, self.nodeid, self._fingerprint)
        asked = self.config.getoption("record") or is_named(
            self.config, self.path
        )
        return known is not None and not asked

    def note_passed(self, block, output):
        """Note a block that passed; when all did, remember the page."""
        include = block.include
        project = self.config.stash[PROJECT]
        code = project.include(include.file, include.section)
        self.passed.append([block.language, code, output])
        runs = [block for block in self.page.runnable() if not not_run(block)]
        if len(self.passed) == len(runs):
            told = self.passed if self.config.getoption("fresh") else []
            remember(self.config, self.nodeid, self._fingerprint, told)

    def result(self, index):
        """The result of a block, after those before it have run."""
        if self.page_run is None:
            get = self.config.getoption
            project = self.config.stash[PROJECT]
            self.page_run = PageRun(
                project, self.page, get("record"), get("fresh")
            )
            self.results = []
        while len(self.results) <= index:
            block = self.page.runnable()[len(self.results)]
            self.results.append(self._run(block))
        return self.results[index]

    def _run(self, block):
        """Run the next block; None where it isn't to be run or reached."""
        if self.failed or not_run(block):
            return None
        result = self.page_run.run(len(self.results))
        if result.error:
            self.failed = block
        return result

    def close(self):
        """End the page's process; returns what it did that it may not."""
        page_run, self.page_run = self.page_run, None
        return page_run.close() if page_run else []

    def teardown(self):
        """End the page, and keep what it recorded."""
        self.close()
        if self.config.getoption("record") and not self.failed:
            self.config.stash[RECORDED] += self.recorder.write()


def printed_in_new_interpreter(config, page):
    """What the page printed when it last passed with --fresh, unchanged.

    A list of [language, code, output], one for each block; None where it
    didn't pass, or something it depends on has changed since.
    """
    files = sources(config.stash[PROJECT], page)
    return recall(config, page.name, fingerprint(files)) or None


def not_run(block):
    """Why a block is shown but not run, or None."""
    if block.skip:
        return block.skip
    if block.needs and importlib.util.find_spec(block.needs) is None:
        return f"{block.needs} is not installed"
    return None


class Failure(Exception):
    """A block that doesn't do what its page shows."""


class _Item(pytest.Item):
    def repr_failure(self, excinfo):
        """Our own failures are told without the machinery's traceback."""
        if isinstance(excinfo.value, Failure):
            return str(excinfo.value)
        return super().repr_failure(excinfo)


class SyncItem(_Item):
    """What can be seen without running: one item a page."""

    def runtest(self):
        """Fail with the page's mistakes."""
        stash = self.config.stash
        if CHECKED not in stash:
            stash[CHECKED] = check(self.config.rootpath)
        mine = [str(m) for m in stash[CHECKED] if self._is_mine(m)]
        if mine:
            raise Failure("\n".join(mine))

    def _is_mine(self, mistake):
        path = self.config.rootpath / mistake.path
        if isinstance(self.parent, PageFile):
            return path == self.path
        docs = self.config.stash[PROJECT].docs
        return not (path.suffix == ".md" and path.is_relative_to(docs))

    def reportinfo(self):
        """Where the item is, for pytest's report."""
        return self.path, 0, self.name


class BlockItem(_Item):
    """A block of a page."""

    def runtest(self):
        """Run the page as far as this block, and compare."""
        reason = not_run(self.block)
        if reason:
            pytest.skip(reason)
        mistakes = self.parent.page.blocking()
        if mistakes:
            told = "\n".join(map(str, mistakes))
            raise Failure(f"{self._place()}: not run, since\n{told}")
        if self.parent.passed_before:
            pytest.skip(PASSED)
        failed = self.parent.failed
        result = self.parent.result(self.index)
        if result is None:
            failed = failed or self.parent.failed
            raise Failure(
                f"{self._place()}: not reached, since "
                f'"{failed.name}" (line {failed.line}) failed'
            )
        problems = [result.error] if result.error else []
        is_last = self.index == len(self.parent.page.runnable()) - 1
        if is_last or result.error:
            problems += self.parent.close()
        if not problems and self.config.getoption("record"):
            self.parent.recorder.take(self.block, result)
        elif not problems:
            problems = self._differences(result)
        if problems:
            self.parent.failed = self.parent.failed or self.block
            raise Failure(self._tell(problems, result))
        if not self.config.getoption("record"):
            self.parent.note_passed(self.block, result.output)

    def _differences(self, result):
        """How the result differs from what the page shows."""
        problem = self._output_difference(result.output)
        problems = [problem] if problem else []
        shown = self.parent.recorder.figure_files(self.block)
        if len(shown) != len(result.figures):
            return [
                *problems,
                f"draws {len(result.figures)} figures, recorded are "
                f"{len(shown)} {self._hint()}",
            ]
        tolerance = self._tolerance("figure_tolerance", FIGURE_TOLERANCE)
        for pair, (drawn, _) in zip(shown, result.figures, strict=True):
            for path in pair:
                problems += self._figure_difference(path, drawn, tolerance)
        return problems

    def _output_difference(self, output):
        include = self.block.output
        if include is None:
            if output.strip():
                return (
                    f"prints, but the page shows no output:\n{output.rstrip()}"
                    "\nadd the output under the block "
                    f"{self._hint()}, or don't print"
                )
            return ""
        if not output.strip():
            return "shows output, but prints nothing; drop one of the two"
        project = self.config.stash[PROJECT]
        try:
            shown = project.include(include.file, include.section)
        except SnippetMissingError as error:
            return f"{error} {self._hint()}"
        tolerance = self._tolerance("tolerance", TOLERANCE)
        difference = compare_text(shown, output, tolerance)
        if not difference:
            return ""
        return (
            f"{difference}\nIf the new output is right, record it "
            f"{self._hint()}"
        )

    def _figure_difference(self, path, drawn, tolerance):
        name = self.config.stash[PROJECT].name(path)
        try:
            recorded = figures.read(path.read_text("utf-8"))
        except (OSError, ValueError) as error:
            return [f"{name} {error} {self._hint()}"]
        reasons = figures.compare(recorded, drawn, tolerance)
        return [f"{name}: {reason} {self._hint()}" for reason in reasons]

    def _tolerance(self, key, default):
        own = getattr(self.block, key)
        settings = self.parent.page.settings
        return own if own is not None else settings.get(key, default)

    def _hint(self):
        return f"(pytest --record {self.parent.page.name})"

    def _place(self):
        snippets = self.config.stash[PROJECT].snippets.name
        include = self.block.include
        return (
            f"{self.parent.page.name}:{self.block.line}: "
            f"{snippets}/{include.file}:{include.section}"
        )

    def _tell(self, problems, result):
        told = "\n".join(f"{self._place()}: {p}" for p in problems)
        if result.stderr.strip() and result.error:
            told += f"\nstandard error:\n{result.stderr.rstrip()[-2000:]}"
        return told

    def reportinfo(self):
        """Where the block stands on its page."""
        return self.path, self.block.line - 1, self.name
