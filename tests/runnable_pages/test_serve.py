"""`mkdocs serve` survives mistakes, shows them, and recovers."""

import os
import socket
import subprocess
import sys
import time
import urllib.request

import pytest

import runnable_pages

PAGE = "docs/lessons/sums.md"
CODE = "snippets/lessons/sums.py"
HOOK = runnable_pages.__path__[0] + "/hook.py"


@pytest.fixture(params=[[], ["--dirty"]], ids=["full", "dirty"])
def served(sample, request):
    """A function that waits until the served page has a text."""
    sample.edit(
        "mkdocs.yml",
        "nav:\n  - index",
        f"hooks: [{HOOK}]\nwatch: [snippets]\nnav:\n  - index",
    )
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [
            *(sys.executable, "-m", "mkdocs", "serve", *request.param),
            *("-a", f"127.0.0.1:{port}"),
        ],
        cwd=sample.root,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )

    def wait_for(text, absent="\0"):
        deadline = time.monotonic() + 60
        html = ""
        while time.monotonic() < deadline:
            try:
                with urllib.request.urlopen(
                    f"http://127.0.0.1:{port}/lessons/sums/", timeout=10
                ) as answer:
                    html = answer.read().decode()
            except OSError:
                html = ""
            if text in html and absent not in html:
                return True
            time.sleep(0.1)
        raise AssertionError(f"{text!r} never came; last was:\n{html[-3000:]}")

    yield wait_for
    server.terminate()
    _, told = server.communicate(timeout=30)
    assert "Traceback" not in told


def test_serving_survives_a_mistake_and_recovers(sample, served):
    """The page shows the mistake, then its mending, then a new snippet."""
    served("total 3.500 of 2 terms", absent="admonition failure")
    sample.edit(PAGE, ":add", ":ad")
    served("it has: add, use")
    sample.edit(PAGE, ":ad", ":add")
    served("total 3.500 of 2 terms", absent="admonition failure")
    # Saving a snippet reloads the page that shows it.
    sample.edit(
        CODE, "    return a + b", "    summed = a + b\n    return summed"
    )
    served("summed", absent="admonition failure")
