"""A page that misbehaves fails alone, and is told what it did."""

import os
import subprocess
import sys
import time

import psutil
import pytest

from runnable_pages.arithmetic import arithmetics
from runnable_pages.page import read_page
from runnable_pages.project import Project
from runnable_pages.session import PageRun

PAGE = "docs/lessons/sums.md"


def run(sample, fresh=False, settings=None, arithmetic=None):
    """Run the sample's page; its results, and what closing it tells."""
    project = Project.load(sample.root)
    project.settings.update(settings or {})
    page = read_page(project, sample.root / PAGE)
    assert page.mistakes == []
    page_run = PageRun(project, page, arithmetic, fresh)
    results = []
    for index in range(len(page.runnable())):
        results.append(page_run.run(index))
        if results[-1].error:
            break
    return results, page_run.close()


# name: (limits of pyproject.toml, block, what must be told)
BAD = {
    "sys.exit": ({}, "import sys; sys.exit(0)", r"ends the interpreter (sys.exit(0))"),
    "os._exit": ({}, "import os; os._exit(0)", "ended the interpreter (exit status 0)"),
    "segfault": ({}, "import ctypes; ctypes.string_at(0)", "crashed (SIGSEGV)"),
    "exception": ({}, "1 / 0", 'File "snippets/lessons/sums.py", line 5, in <module>'),
    "exception caret": ({}, "x = 1; y = x / 0", "ZeroDivisionError: division by zero"),
    "input": ({}, "input()", "a page has no standard input"),
    "read stdin": ({}, "import sys; sys.stdin.read()", "a page has no standard input"),
    "network": ({}, "import urllib.request as r; r.urlopen('http://192.0.2.1')", "connects to 192.0.2.1; pages run without network"),
    "look-up": ({}, "import socket; socket.getaddrinfo('example.org', 80)", "connects to example.org"),
    "caught network": ({}, "import socket\ntry:\n    socket.create_connection(('192.0.2.1', 80), 1)\nexcept OSError:\n    pass", "connects to 192.0.2.1"),
    "loopback": ({}, "import socket; socket.create_connection(('127.0.0.1', 9), 1)", "set loopback: true"),
    "hang": ({"time_limit": 1}, "while True:\n    pass", "the page runs longer than 1 s; it was stopped at snippets/lessons/sums.py:"),
    "sleep": ({"time_limit": 1}, "import time\ntime.sleep(60)", "stopped at snippets/lessons/sums.py:6"),
    "memory": ({"memory_limit": 1}, "x = bytearray(3 * 1024**3)", "The page may use 1 GB; use less"),
    "write": ({}, "import snippets.lessons.sums as s\nopen(s.__file__ + '.new', 'w')", "writes to snippets/lessons/sums.py.new in the checkout"),
    "delete": ({}, "import os, snippets.lessons.sums as s\nos.remove(s.__file__)", "writes to snippets/lessons/sums.py in the checkout"),
    "flood": ({}, "while True:\n    print('x' * 100_000)", "prints more than 1,000,000 bytes"),
    "close stdout": ({}, "import sys; sys.stdout.close()", "closes or redirects stdout"),
    "close descriptor": ({}, "import os; os.close(1)", "closes or redirects stdout"),
    "warning": ({}, "import warnings; warnings.warn('old')", "warns, which the page doesn't show: snippets/lessons/sums.py:5: UserWarning: old"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_block_that_misbehaves_is_told_so(sample, name):
    """Crash, hang, flood, network, keyboard: each ends with its own message."""
    settings, block, message = BAD[name]
    sample.page(block)
    results, _ = run(sample, settings=settings)
    assert message in results[-1].error
    assert "runnable_pages" not in results[-1].error
    assert "Extension modules" not in results[-1].stderr  # hundreds of names


def test_a_process_left_behind_is_told_and_ended(sample):
    """Even one that left our session and process group."""
    sample.page(
        "import subprocess\n"
        "p = subprocess.Popen(['sleep', '60'], start_new_session=True)\n"
        "print(p.pid)"
    )
    results, problems = run(sample)
    assert problems == ["leaves a process behind: sleep 60"]
    pid = int(results[0].output)
    deadline = time.monotonic() + 10
    while psutil.pid_exists(pid) and time.monotonic() < deadline:
        time.sleep(0.02)  # it may take a moment to be reaped
    assert not psutil.pid_exists(pid)


def test_a_process_that_was_waited_for_is_none_left_behind(sample):
    """Starting processes is allowed."""
    sample.page("import subprocess; subprocess.run(['true'], check=True)")
    assert run(sample)[1] == []


@pytest.mark.parametrize("fresh", [False, True])
def test_processes_start_as_in_a_readers_python(sample, fresh):
    """By the system's default, not by the way in which the page started."""
    sample.page(
        "import multiprocessing\nprint(multiprocessing.get_start_method())"
    )
    results, _ = run(sample, fresh)
    default = subprocess.run(
        [
            sys.executable,
            "-c",
            "import multiprocessing as m; print(m.get_start_method())",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert results[0].output == default.stdout


def test_a_forked_process_runs(sample):
    """As a loader's workers do: it closes standard input first."""
    sample.page(
        "import multiprocessing\n"
        "fork = multiprocessing.get_context('fork')\n"
        "process = fork.Process(target=print, args=('child',), kwargs={'flush': True})\n"
        "process.start()\n"
        "process.join()\n"
        "print(process.exitcode)"
    )
    results, problems = run(sample)
    assert results[0].output == "child\n0\n"
    assert problems == []


def test_blocks_share_one_session(sample):
    """A name of the first block is there in the second; __main__ is ours."""
    sample.page("x = 20", "print(x + 1, __name__)")
    results, problems = run(sample)
    assert [r.output for r in results] == ["", "21 __main__\n"]
    assert not any(r.error for r in results)
    assert problems == []


def test_pages_share_nothing(sample):
    """Globals, seeds, settings, files and folders end with their page."""
    dirty = (
        "import os, numpy as np\n"
        "np.set_printoptions(precision=1); open('f', 'w').close()\n"
        "left = 1; os.environ['LEFT'] = '1'; np.random.seed(0)\n"
    )
    look = (
        "import os, numpy as np\n"
        "print('left' in globals(), 'LEFT' in os.environ, os.listdir())\n"
        "print(np.get_printoptions()['precision'])\n"
    )
    sample.page(dirty)
    assert not run(sample)[0][0].error
    sample.page(look)
    assert run(sample)[0][0].output == "False False []\n8\n"


def test_loopback_is_allowed_where_the_page_says_so(sample):
    """A server and its client on one page."""
    sample.page(
        "import socket\n"
        "server = socket.create_server(('127.0.0.1', 0))\n"
        "client = socket.create_connection(server.getsockname(), 5)\n"
        "client.close(); server.close(); print('met')",
        settings="loopback: true",
    )
    results, _ = run(sample)
    assert (results[0].error, results[0].output) == ("", "met\n")


def test_the_working_directory_is_ours_to_write(sample):
    """Files may be written there, and it is gone afterwards."""
    sample.page("import os; open('x.txt', 'w').close(); print(os.getcwd())")
    results, _ = run(sample)
    assert not results[0].error
    assert not os.path.exists(results[0].output.strip())


def test_a_traceback_points_into_the_file(sample):
    """Line and column are those of the file, where the block is indented."""
    sample.page("def f():\n    raise KeyError('k')", "f()")
    error = run(sample)[0][1].error
    assert 'File "snippets/lessons/sums.py", line 11, in <module>' in error
    assert 'File "snippets/lessons/sums.py", line 6, in f' in error
    assert "raise KeyError('k')" in error


def test_a_fresh_page_starts_as_a_new_interpreter(sample):
    """Not off the fork server, which has loaded what most pages import."""
    sample.page(
        "import os, sys",
        "print('torch' in sys.modules, os.getppid())",
        "import sklearn.datasets, snippets.lessons.sums",
    )
    (_, look, imported), problems = run(sample, fresh=True)
    assert look.output == f"False {os.getpid()}\n"
    assert not imported.error
    assert problems == []
    assert not run(sample)[0][1].output.endswith(f" {os.getpid()}\n")


def test_threads_are_those_of_the_arithmetic(sample):
    """One thread, but two under the arithmetic that has two."""
    look = (
        "import numpy, threadpoolctl\n"
        "print({p['num_threads'] for p in threadpoolctl.threadpool_info()})"
    )
    sample.page(look)
    assert run(sample)[0][0].output == "{1}\n"
    two = arithmetics()[-1]
    assert run(sample, arithmetic=two)[0][0].output == "{2}\n"


@pytest.mark.parametrize(
    ("command", "output", "error"),
    [
        ("python -c 'print(6 * 7)'", "42\n", ""),
        ("false\necho not reached", "", "ended with exit status 1"),
        ("echo $UNSET", "", "ended with exit status"),
        ("cat", "", ""),
    ],
)
def test_shell_blocks_run(sample, command, output, error):
    """Commands run in bash with errors on, and no input."""
    sample.page("1")
    sample.write(
        "snippets/lessons/do.sh",
        f"# --8<-- [start:do]\n{command}\n# --8<-- [end:do]\n",
    )
    sample.write(PAGE, '```bash\n--8<-- "lessons/do.sh:do"\n```\n')
    results, _ = run(sample)
    assert results[0].output == output
    assert error in results[0].error
    assert bool(results[0].error) == bool(error)


def test_a_command_that_writes_into_the_checkout_is_told(sample):
    """What Python's hooks can't see is seen by looking."""
    target = sample.root / "snippets" / "new.txt"
    sample.page("1")
    sample.write(
        "snippets/lessons/do.sh",
        f"# --8<-- [start:do]\ntouch {target}\n# --8<-- [end:do]\n",
    )
    sample.write(PAGE, '```bash\n--8<-- "lessons/do.sh:do"\n```\n')
    [told] = run(sample)[1]
    assert "command on this page changes snippets/new.txt in" in told
