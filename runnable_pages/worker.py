"""The child process of one page: runs its blocks, one request at a time.

Everything that a block could do to others is held here: its own process,
working directory and output, no network, no keyboard, limits on memory.
"""

import ast
import builtins
import ctypes
import faulthandler
import multiprocessing
import os
import signal
import subprocess
import sys
import time
import traceback
import types
import warnings
from dataclasses import dataclass, field
from pathlib import Path

LOOPBACK = ("127.", "::1", "localhost", "0.0.0.0")
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
CHANGES_FILES = (
    "os.mkdir",
    "os.remove",
    "os.rename",
    "os.rmdir",
    "os.truncate",
    "os.link",
    "os.symlink",
)
CONNECTS = ("socket.connect", "socket.sendto", "socket.getaddrinfo")
NEW_NETWORK, NEW_USER = 0x40000000, 0x10000000
PR_SET_CHILD_SUBREAPER = 36
OWN = os.path.dirname(os.path.abspath(__file__)) + os.sep


@dataclass(frozen=True)
class Limits:
    """What a page's run may use."""

    time: float = 60.0  # seconds
    memory: float = 4.0  # GB
    threads: int = 1
    loopback: bool = False


@dataclass(frozen=True)
class Code:
    """A block's code, and where in its snippet file it stands."""

    language: str
    text: str
    file: str
    first_line: int
    indent: int


@dataclass
class Result:
    """What a block did."""

    output: str = ""
    stderr: str = ""
    error: str = ""
    figures: list = field(default_factory=list)  # SVG texts


def serve(connection, root, folder, limits):
    """Run blocks as they come in, until None does. The child's main."""
    page = _Child(root, folder, limits)
    page.isolate()
    for code in iter(connection.recv, None):
        connection.send(page.run(code))
    connection.send(page.left_behind())


class _Child:
    def __init__(self, root, folder, limits):
        self.root, self.folder, self.limits = root, folder, limits
        self.refused = []
        self.warned = []
        self.module = types.ModuleType("__main__")

    # Isolation

    def isolate(self):
        """Cut this process off from what it could disturb or depend on."""
        os.setsid()
        os.chdir(self.folder)
        sys.modules["__main__"] = self.module
        self.module.__dict__["__builtins__"] = builtins
        sys.path[:] = [self.root, *(p for p in sys.path if p != self.root)]
        self._redirect()
        self._limit()
        self._adopt_orphans()
        if not self.limits.loopback:
            _leave_network()
        _style_figures(self.root)
        sys.addaudithook(self._audit)
        warnings.showwarning = self._warned
        # as in a reader's Python, and not as this process was started
        multiprocessing.set_start_method(None, force=True)

    def _redirect(self):
        """Standard input is empty; output goes to files that we read."""
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        sys.stdin = _NoKeyboard()
        self.streams = {}
        for number, name in ((1, "stdout"), (2, "stderr")):
            path = os.path.join(os.path.dirname(self.folder), name)
            flags = os.O_RDWR | os.O_CREAT | os.O_APPEND
            target = os.open(path, flags, 0o600)
            os.dup2(target, number)
            os.close(target)
            stream = open(  # noqa: SIM115, it lives as long as the page
                number, "w", encoding="utf-8", buffering=1, closefd=False
            )
            setattr(sys, name, stream)
            self.streams[name] = [path, 0, stream, os.fstat(number).st_ino]
        faulthandler.enable(sys.stderr, all_threads=False)

    def _limit(self):
        try:
            import resource
        except ImportError:  # Windows
            return
        size = int(self.limits.memory * 1024**3)
        resource.setrlimit(resource.RLIMIT_DATA, (size, size))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        from threadpoolctl import threadpool_limits

        threadpool_limits(self.limits.threads)
        os.environ["OMP_NUM_THREADS"] = str(self.limits.threads)

    def _adopt_orphans(self):
        """Processes that a block leaves behind become children of ours."""
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)

    def _audit(self, event, args):
        if event in CONNECTS:
            self._check_address(event, args)
        elif event == "open":
            path, _, flags = args
            if isinstance(flags, int) and flags & WRITING:
                self._check_path(path)
        elif event in CHANGES_FILES:
            self._check_path(args[0])

    def _check_address(self, event, args):
        address = args[0] if event == "socket.getaddrinfo" else args[1]
        if event != "socket.getaddrinfo":
            if not isinstance(address, tuple):
                return  # a socket of this machine's file system
            address = address[0]
        host = address.decode() if isinstance(address, bytes) else address
        local = host is None or str(host).startswith(LOOPBACK)
        if local and self.limits.loopback:
            return
        if local:
            cure = "set loopback: true in the page's front matter"
        else:
            cure = "use data that comes in a package"
        self._refuse(f"connects to {host}; pages run without network: {cure}")

    def _check_path(self, path):
        if isinstance(path, int):
            return
        path = os.path.abspath(os.fsdecode(path))
        if not path.startswith(self.root + os.sep):
            return
        if "__pycache__" in path:
            if path.startswith(os.path.abspath(sys.prefix) + os.sep):
                return  # packages keep what was compiled of them
            raise PermissionError("no matter, Python goes on without")
        name = os.path.relpath(path, self.root)
        self._refuse(
            f"writes to {name} in the checkout; write to the working "
            "directory instead"
        )

    def _refuse(self, text):
        self.refused.append(text)
        raise PermissionError(text)

    def _warned(self, message, category, filename, lineno, *_, **__):
        self.warned.append(
            f"{self._short(filename)}:{lineno}: {category.__name__}: {message}"
        )

    # Blocks

    def run(self, code):
        """Run one block and say what it did."""
        result = Result()
        self.refused, self.warned = [], []
        try:
            if code.language == "python":
                self._python(code)
            else:
                self._shell(code)
            result.figures = list(self._figures())
        except BaseException as error:
            result.error = self._explain(code, error)
        closed = self._collect(result)
        result.error = result.error or self._objections() or closed
        return result

    def _python(self, code):
        tree = ast.parse(code.text, code.file)
        for node in ast.walk(tree):
            # So that errors point into the file, where the block may stand
            # deeper than on the page.
            if hasattr(node, "lineno"):
                node.lineno += code.first_line - 1
                node.end_lineno += code.first_line - 1
                node.col_offset += code.indent
                node.end_col_offset += code.indent
        exec(compile(tree, code.file, "exec"), self.module.__dict__)

    def _shell(self, code):
        bins = os.path.dirname(sys.executable)
        environment = {
            **os.environ,
            "PATH": bins + os.pathsep + os.environ.get("PATH", ""),
            "PYTHONPATH": self.root,
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        sys.stdout.flush()
        command = ["bash", "-euo", "pipefail", "-c", code.text]
        done = subprocess.run(command, env=environment, stdin=0, check=False)
        if done.returncode:
            raise ChildProcessError(
                f"the command ended with exit status {done.returncode}"
            )

    def _figures(self):
        """Draw and close every open figure."""
        if "matplotlib.pyplot" not in sys.modules:
            return
        from matplotlib import pyplot

        from runnable_pages import figures

        for number in pyplot.get_fignums():
            figure = pyplot.figure(number)
            yield figures.describe(figure)
            pyplot.close(figure)

    def _collect(self, result):
        """Take the block's output; says so if it closed a stream."""
        closed = ""
        for name, number in (("stdout", 1), ("stderr", 2)):
            path, offset, stream, inode = self.streams[name]
            try:
                getattr(sys, name).flush()
                stream.flush()
                same = os.fstat(number).st_ino == inode
            except (OSError, ValueError):
                same = False
            if not same or getattr(sys, name).closed:
                closed = f"closes or redirects {name}; leave it open"
            text = Path(path).read_bytes()[offset:]
            self.streams[name][1] += len(text)
            field_name = "output" if name == "stdout" else name
            setattr(result, field_name, text.decode("utf-8", "replace"))
        return closed

    def _objections(self):
        if self.refused:
            return self.refused[0]
        if self.warned:
            return (
                f"warns, which the page doesn't show: {self.warned[0]}; "
                "mend the cause"
            )
        return ""

    # Telling

    def _explain(self, code, error):
        """An error, told without the machinery's own frames."""
        if isinstance(error, SystemExit):
            return (
                f"ends the interpreter (sys.exit({error.code!r})); "
                "return or raise instead"
            )
        told = traceback.TracebackException.from_exception(error)
        self._clean(told, code)
        text = "".join(told.format()).rstrip()
        text = text.replace(self.root + os.sep, "")
        lowered = text.lower()
        if isinstance(error, MemoryError) or "can't allocate" in lowered:
            text += (
                f"\nThe page may use {self.limits.memory:g} GB; use less, or "
                "raise memory_limit in pyproject.toml"
            )
        return text

    def _clean(self, told, code):
        """Drop the frames before the block's first, and the machinery's."""
        while told is not None:
            files = [frame.filename for frame in told.stack]
            start = files.index(code.file) if code.file in files else 0
            told.stack[:] = [
                frame
                for frame in told.stack[start:]
                if not frame.filename.startswith(OWN)
            ]
            told = told.__cause__ or told.__context__

    def _short(self, path):
        return path.replace(self.root + os.sep, "")

    # The end

    def left_behind(self):
        """End processes that are still there after a moment; names them."""
        import psutil

        deadline = time.monotonic() + 0.5
        while time.monotonic() < deadline and self._children(psutil):
            time.sleep(0.02)
        left = self._children(psutil)
        names = [" ".join(process.cmdline())[:80] for process in left]
        for process in left:
            process.kill()
        return names

    def _children(self, psutil):
        living = []
        for process in psutil.Process().children(recursive=True):
            try:
                gone = process.status() == psutil.STATUS_ZOMBIE
                helper = "multiprocessing.resource_tracker" in " ".join(
                    process.cmdline()
                )
            except psutil.Error:
                continue
            if not gone and not helper:
                living.append(process)
        return living


class _NoKeyboard:
    """A standard input that says why there is none."""

    def close(self):
        """What a forked process does first, as with any standard input."""

    def __getattr__(self, name):
        raise EOFError(
            "a page has no standard input: give the value in the code"
        )


def _leave_network():
    """Enter a network of our own, with nothing in it, where we may."""
    if sys.platform != "linux":
        return  # the audit hook alone then refuses connections
    uid, gid = os.getuid(), os.getgid()
    flags = NEW_NETWORK if uid == 0 else NEW_NETWORK | NEW_USER
    if ctypes.CDLL(None).unshare(flags) or uid == 0:
        return
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{uid} {uid} 1"),
        ("gid_map", f"{gid} {gid} 1"),
    ):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)


def _style_figures(root):
    try:
        from matplotlib import pyplot
    except ImportError:
        return
    from runnable_pages import figures

    figures.use_style(root)
    # There is no window; the figure is taken at the end of the block.
    pyplot.show = lambda *args, **kwargs: None


def signal_name(exit_code):
    """How a process ended, in words."""
    if exit_code is not None and exit_code < 0:
        return f"crashed ({signal.Signals(-exit_code).name})"
    return f"ended the interpreter (exit status {exit_code})"
