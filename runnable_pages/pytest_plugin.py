"""Pages as pytest tests: each block of a page is one test.

`pytest docs/x.md` runs a page; `pytest --record docs/x.md` writes its
outputs and figures from the run. Nothing else ever writes them.
"""

import importlib.util
import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from runnable_pages import figures
from runnable_pages.arithmetic import arithmetics
from runnable_pages.check import check
from runnable_pages.compare import (
    as_on_screen,
    compare_text,
    why_not_shown,
)
from runnable_pages.page import read_page
from runnable_pages.project import Project, Unreadable
from runnable_pages.record import Recorder
from runnable_pages.session import PageRun, prepare

TOLERANCE = 1e-2  # relative, of numbers in outputs
FIGURE_TOLERANCE = 0.05  # of an axis's range
PROJECT = pytest.StashKey()
CHECKED = pytest.StashKey()
RECORDED = pytest.StashKey()
CURE = (
    "print fewer digits, a rank or a ratio, or the end of a run; or train at "
    "a rate that isn't chaotic"
)


def pytest_addoption(parser):
    """Add --record and --fresh."""
    group = parser.getgroup("pages")
    group.addoption(
        "--record",
        action="store_true",
        help="write the outputs and figures of the pages that are run, where "
        "the arithmetics of other processors agree",
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
    prepare(config.stash[PROJECT].settings.get("preload", []))


def pytest_collect_file(file_path, parent):
    """Collect pages, and mkdocs.yml for what belongs to no page."""
    project = parent.config.stash[PROJECT]
    if project is None:
        return None
    if file_path == project.root / "mkdocs.yml":
        return SyncFile.from_parent(parent, path=file_path)
    is_page = file_path.suffix == ".md" and not file_path.name.startswith(".")
    if is_page and file_path.is_relative_to(project.docs):
        return PageFile.from_parent(parent, path=file_path)
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
    """Say what was recorded."""
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
        recording = self.config.getoption("record")
        self.page = read_page(project, self.path)
        self.page_run = None
        self.recorder = Recorder(project, self.page)
        self.failed = None
        self.results = []
        if not recording:
            yield SyncItem.from_parent(self, name="sync")
        for index, block in enumerate(self.page.runnable()):
            item = BlockItem.from_parent(self, name=block.name)
            item.index, item.block = index, block
            yield item
        if recording and self.page.runnable():
            yield ArithmeticItem.from_parent(self, name="other processors")

    def result(self, index):
        """The result of a block, after those before it have run."""
        if self.page_run is None:
            fresh = self.config.getoption("fresh")
            project = self.config.stash[PROJECT]
            self.page_run = PageRun(project, self.page, fresh=fresh)
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

    def tolerance(self, block, key, default):
        """The block's own tolerance, or the page's, or the default."""
        own = getattr(block, key)
        return own if own is not None else self.page.settings.get(key, default)

    def close(self):
        """End the page's process; returns what it did that it may not."""
        page_run, self.page_run = self.page_run, None
        return page_run.close() if page_run else []

    def teardown(self):
        """End the page, and keep what it recorded."""
        self.close()
        if self.config.getoption("record") and not self.failed:
            self.config.stash[RECORDED] += self.recorder.write()


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

    def place(self, block):
        """Page, line, snippet and section of a block."""
        snippets = self.config.stash[PROJECT].snippets.name
        include = block.include
        return (
            f"{self.parent.page.name}:{block.line}: "
            f"{snippets}/{include.file}:{include.section}"
        )


class SyncItem(_Item):
    """What can be seen without running: one item a page."""

    def runtest(self):
        """Fail with the page's mistakes."""
        stash = self.config.stash
        if CHECKED not in stash:
            stash[CHECKED] = check(self.config.rootpath)
        mine = {m for m in stash[CHECKED] if self._is_mine(m)}
        if isinstance(self.parent, PageFile):
            mine |= set(self.parent.page.mistakes)
        if mine:
            raise Failure("\n".join(map(str, sorted(mine))))

    def _is_mine(self, mistake):
        path = self.config.rootpath / mistake.path
        if isinstance(self.parent, PageFile):
            return path == self.path
        docs = self.config.stash[PROJECT].docs
        return not (path.suffix == ".md" and path.is_relative_to(docs))

    def reportinfo(self):
        """Where the item is, for pytest's report."""
        return self.path, 0, self.name


class ArithmeticItem(_Item):
    """Whether other processors would print and draw what is recorded."""

    def runtest(self):
        """Run the page under each arithmetic, and compare with the plain."""
        page = self.parent.page
        if self.parent.failed or not self.parent.results:
            pytest.skip("the page failed" if self.parent.failed else "not run")
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            told = list(pool.map(self._try, arithmetics()[1:]))
        left_out = [a for a in arithmetics() if a.left_out]
        self.config.stash[RECORDED] += [
            f"{page.name} was not tried under {a.name}: {a.left_out}"
            for a in left_out
        ]
        if problems := [line for lines in told for line in lines]:
            self.parent.failed = page.runnable()[-1]
            raise Failure(
                "\n".join(problems)
                + "\nNothing was recorded: other processors would differ; "
                + CURE
            )

    def _try(self, arithmetic):
        """How the page differs under this arithmetic."""
        if arithmetic.left_out:
            return []
        run = PageRun(self.config.stash[PROJECT], self.parent.page, arithmetic)
        try:
            return self._run_all(run, arithmetic)
        finally:  # or a child would keep pytest from ending
            run.close()

    def _run_all(self, run, arithmetic):
        page, problems = self.parent.page, []
        # Blocks at the end that weren't run have no result.
        for index, (block, plain) in enumerate(
            zip(page.runnable(), self.parent.results, strict=False)
        ):
            if plain is None:
                continue
            result = run.run(index)
            problems += [
                f"{self.place(block)}: {why}"
                for why in self._differences(block, plain, result, arithmetic)
            ]
            if result.error:
                break
        return problems

    def _differences(self, block, plain, result, arithmetic):
        names = ("plain", arithmetic.name)
        if result.error:
            return [f"fails under {arithmetic.name}: {result.error}"]
        tolerance = self.parent.tolerance(block, "tolerance", TOLERANCE)
        outputs = [as_on_screen(r.output) for r in (plain, result)]
        difference = compare_text(*outputs, tolerance, names)
        reasons = [difference] if difference else []
        tolerance = self.parent.tolerance(
            block, "figure_tolerance", FIGURE_TOLERANCE
        )
        for old, new in zip(plain.figures, result.figures, strict=False):
            reasons += [
                f"figure, plain and {arithmetic.name}: {reason}"
                for reason in figures.compare(old, new, tolerance)
            ]
        return reasons

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
            self.parent.failed = self.parent.failed or self.block
            told = "\n".join(map(str, mistakes))
            raise Failure(f"{self.place(self.block)}: not run, since\n{told}")
        failed = self.parent.failed
        result = self.parent.result(self.index)
        if result is None:
            failed = failed or self.parent.failed
            raise Failure(
                f"{self.place(self.block)}: not reached, since "
                f'"{failed.name}" (line {failed.line}) failed'
            )
        problems = [result.error] if result.error else []
        is_last = self.index == len(self.parent.page.runnable()) - 1
        if is_last or result.error:
            problems += self.parent.close()
        output = as_on_screen(result.output)
        if not problems and (why := why_not_shown(output)):
            problems = [why]
        elif not problems and self.config.getoption("record"):
            self.parent.recorder.take(self.block, output, result.figures)
        elif not problems:
            problems = self._differences(output, result.figures)
        if problems:
            self.parent.failed = self.parent.failed or self.block
            raise Failure(self._tell(problems, result))

    def _differences(self, output, drawn):
        """How the result differs from what the page shows."""
        problem = self._output_difference(output)
        problems = [problem] if problem else []
        shown = self.parent.recorder.figure_files(self.block)
        if len(shown) != len(drawn):
            return [
                *problems,
                f"draws {len(drawn)} figures, recorded are {len(shown)} "
                f"{self._hint()}",
            ]
        for pair, svg in zip(shown, drawn, strict=True):
            problems += self._figure_differences(pair, svg)
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
        if not include.text:
            return f"its output isn't recorded {self._hint()}"
        tolerance = self.parent.tolerance(self.block, "tolerance", TOLERANCE)
        difference = compare_text(include.text, output, tolerance)
        if not difference:
            return ""
        return (
            f"{difference}\nIf the new output is right, record it "
            f"{self._hint()}"
        )

    def _figure_differences(self, pair, drawn):
        project = self.config.stash[PROJECT]
        light, dark = pair
        if not light.is_file() or not dark.is_file():
            return [f"{project.name(light)} lacks a partner {self._hint()}"]
        recorded = light.read_text("utf-8")
        tolerance = self.parent.tolerance(
            self.block, "figure_tolerance", FIGURE_TOLERANCE
        )
        reasons = [
            f"{project.name(light)}: {reason} {self._hint()}"
            for reason in figures.compare(recorded, drawn, tolerance)
        ]
        if dark.read_text("utf-8") != figures.darken(recorded, project.root):
            reasons.append(
                f"{project.name(dark)} isn't the light figure in dark "
                f"colours; was one changed by hand? {self._hint()}"
            )
        return reasons

    def _hint(self):
        return f"(pytest --record {self.parent.page.name})"

    def _tell(self, problems, result):
        told = "\n".join(f"{self.place(self.block)}: {p}" for p in problems)
        if result.stderr.strip() and result.error:
            told += f"\nstandard error:\n{result.stderr.rstrip()[-2000:]}"
        return told

    def reportinfo(self):
        """Where the block stands on its page."""
        return self.path, self.block.line - 1, self.name
