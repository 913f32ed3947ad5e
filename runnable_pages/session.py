"""A page's run, seen from outside: starts the child and watches over it."""

import contextlib
import multiprocessing
import os
import re
import shutil
import signal
import sys
import tempfile
import threading
import time
import types
from pathlib import Path

import psutil

from runnable_pages import worker
from runnable_pages.arithmetic import threads_here
from runnable_pages.sections import read_snippet
from runnable_pages.worker import Code, Limits, Result, serve, signal_name

WORKER = Path(worker.__file__)
OUTPUT_LIMIT = 1_000_000  # bytes a page may print
_STARTING = threading.Lock()  # a child inherits what is set at its start
END_LIMIT = 60  # seconds to wait for the exit status of a child that ended


class PageRun:
    """Runs a page's blocks, each when it is asked for, in one child."""

    def __init__(self, project, page, arithmetic=None, fresh=False):
        """In a new interpreter if fresh, or if an arithmetic is named."""
        self.project, self.page = project, page
        self.arithmetic, self.fresh = arithmetic, fresh
        self.limits = Limits(
            project.settings.get("time_limit", 180),
            project.settings.get("memory_limit", 4),
            arithmetic.threads if arithmetic else threads_here(),
            page.settings.get("loopback", False),
        )
        self.codes = [_code(project, block) for block in page.runnable()]
        self.process = None
        self.left = self.limits.time
        self.files = {}

    def run(self, index):
        """Run the page's block number `index`; returns its Result."""
        if self.process is None:
            self._start()
        try:
            self.connection.send(self.codes[index])
        except OSError:
            return self._dead()
        return self._wait()

    def _start(self):
        self.files = _snapshot(self.project, self.page)
        self.home = Path(tempfile.mkdtemp(prefix="page-")).resolve()
        folder = self.home / "work"
        folder.mkdir()
        context = _context(self.fresh or self.arithmetic)
        self.connection, theirs = context.Pipe()
        self.process = context.Process(
            target=serve,
            args=(
                theirs,
                str(self.project.root),
                str(folder),
                self.limits,
            ),
        )
        with _STARTING, _no_main(), _environment(self.arithmetic):
            self.process.start()
        theirs.close()

    def _wait(self):
        """Wait for the block's result, within the page's time and output."""
        start = time.monotonic()
        while True:
            try:
                if self.connection.poll(0.05):
                    result = self.connection.recv()
                    self.left -= time.monotonic() - start
                    return result
            except (EOFError, OSError):
                return self._dead()
            if self._printed() > OUTPUT_LIMIT:
                return self._stop(
                    f"prints more than {OUTPUT_LIMIT:,} bytes; print less"
                )
            if time.monotonic() - start > self.left:
                return self._stop(self._too_slow())

    def _printed(self):
        sizes = [
            (self.home / name).stat().st_size
            for name in ("stdout", "stderr")
            if (self.home / name).exists()
        ]
        return sum(sizes)

    def _too_slow(self):
        where = ""
        base = re.escape(str(self.project.root)) + r"/"
        found = re.findall(rf'File "{base}([^"]+)", line (\d+)', self._where())
        # A command is waited for in the machinery: that place helps nobody.
        if found and not (self.project.root / found[0][0]).samefile(WORKER):
            where = f" at {found[0][0]}:{found[0][1]}"
        return (
            f"the page runs longer than {self.limits.time:g} s; it was "
            f"stopped{where}. Do less, or raise time_limit in pyproject.toml"
        )

    def _where(self):
        """The child's stack, as faulthandler can still write it."""
        if not hasattr(signal, "SIGABRT"):
            return ""
        with contextlib.suppress(OSError, ValueError):
            os.kill(self.process.pid, signal.SIGABRT)
            self.process.join(2)
        return self._stderr().rpartition("Fatal Python error: Aborted")[2]

    def _stop(self, text):
        # Where it was is told in the text; the rest is the machinery's.
        stderr = self._stderr().partition("Fatal Python error: Aborted")[0]
        self._kill()
        return Result(error=text, stderr=stderr)

    def _dead(self):
        self.process.join(END_LIMIT)
        code = self.process.exitcode
        result = Result(
            error=f"{signal_name(code)}; a block may not end the page",
            stderr=self._stderr(),
        )
        self._kill()
        return result

    def _stderr(self):
        path = self.home / "stderr"
        if not path.exists():
            return ""
        text = path.read_text("utf-8", "replace")
        return re.sub(r"\n*^Extension modules: .*\n?", "", text, flags=re.M)

    def _kill(self):
        with contextlib.suppress(psutil.Error):
            parent = psutil.Process(self.process.pid)
            for process in [*parent.children(recursive=True), parent]:
                process.kill()
        self.process.join(5)

    def close(self):
        """End the child; returns what the page did that it may not."""
        if self.process is None:
            return []
        problems = []
        try:
            self.connection.send(None)
            if self.connection.poll(10):
                left = self.connection.recv()
                problems += [f"leaves a process behind: {p}" for p in left]
        except (EOFError, OSError):
            pass
        self.process.join(5)
        self._kill()
        self.connection.close()
        self.process = None
        shutil.rmtree(self.home, ignore_errors=True)
        changed = _changed(self.files, _snapshot(self.project, self.page))
        problems += [
            f"a command on this page changes {name} in the checkout; let it "
            "write to the working directory"
            for name in changed
        ]
        return problems


def _code(project, block):
    """The block's code, and where it stands."""
    path = project.snippets / block.include.file
    # The text that the HTML shows is that of the include: page.py saw to it.
    section = read_snippet(project, path).sections[block.include.section]
    return Code(
        "python" if block.language == "python" else "bash",
        block.include.text,
        str(path),
        section.first,
        section.indent,
    )


def prepare(modules):
    """Name the modules that are loaded once, in the fork server.

    A page then starts in milliseconds. Call it before the first run.
    """
    always = ["runnable_pages.worker", "matplotlib.pyplot"]
    _context().set_forkserver_preload([*always, *modules])


def _context(fresh=False):
    """How children start: forked off a server, or as new interpreters."""
    os.environ.setdefault("MPLBACKEND", "agg")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    methods = multiprocessing.get_all_start_methods()
    forks = "forkserver" in methods and not fresh
    return multiprocessing.get_context("forkserver" if forks else "spawn")


@contextlib.contextmanager
def _environment(arithmetic):
    """The arithmetic's settings: a library reads them when it is loaded."""
    old = dict(os.environ)
    os.environ.update(arithmetic.environment if arithmetic else {})
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(old)


@contextlib.contextmanager
def _no_main():
    """Keep the child from importing whatever program we are run by."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _snapshot(project, page):
    """Size and time of the files that a page's commands could damage.

    What Python writes is refused as it happens; commands are held to this.
    """
    if all(block.language == "python" for block in page.runnable()):
        return {}
    files = [p for p in project.root.iterdir() if p.is_file()]
    for folder in (project.docs, project.snippets):
        files += [p for p in folder.rglob("*") if p.is_file()]
    return {
        project.name(path): (path.stat().st_size, path.stat().st_mtime_ns)
        for path in files
        if "__pycache__" not in path.parts
    }


def _changed(before, after):
    names = before.keys() | after.keys()
    return sorted(n for n in names if before.get(n) != after.get(n))
