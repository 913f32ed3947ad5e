"""From saving a file to the page that shows it, at sixty pages.

Run `python -m benchmarks.serving`. It serves a copy of the site, grown to
sixty pages, once with all pages built anew at each save and once with
`--dirty`, and saves a page, a snippet and a test in turn.
"""

import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = 60
SAVES = 3
LESSON = "fundamentals/gradient-descent"
# file: (where the new word goes, the line that has it)
SAVED = {
    f"docs/{LESSON}.md": ("# Gradient descent", "# Gradient descent {}"),
    "snippets/fundamentals/gradient_descent.py": (
        "[start:gradient]\n",
        "[start:gradient]\n# {}\n",
    ),
    "tests/snippets/fundamentals/test_gradient_descent.py": (
        '"""Errors 1',
        '"""{} Errors 1',
    ),
}


def copy_of_sixty(folder):
    """A copy of the site with as many pages of prose as make it sixty."""
    copy = Path(folder) / "copy"
    left_out = (".git", ".venv", ".*_cache", "site", "__pycache__")
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(*left_out))
    missing = PAGES - len(list((copy / "docs").rglob("*.md")))
    text = (copy / "docs/start/how-tested.md").read_text("utf-8")
    names = [f"start/more-{number}.md" for number in range(missing)]
    for name in names:
        (copy / "docs" / name).write_text(text, "utf-8")
    config = copy / "mkdocs.yml"
    entries = "".join(f"    - {name}\n" for name in names)
    first = "    - start/index.md\n"
    config.write_text(
        config.read_text("utf-8").replace(first, first + entries), "utf-8"
    )
    return copy


def served(address, word, limit=120):
    """Seconds until the page at the address has the word."""
    start = time.perf_counter()
    while time.perf_counter() - start < limit:
        try:
            with urllib.request.urlopen(address, timeout=10) as answer:
                if word in answer.read().decode():
                    return time.perf_counter() - start
        except OSError:
            pass
        time.sleep(0.02)
    raise TimeoutError(f"{word!r} never came to {address}")


def saves(copy, *options):
    """Seconds from each save to its page: {file: [seconds]}."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    place = f"127.0.0.1:{port}"
    server = subprocess.Popen(
        [sys.executable, "-m", "mkdocs", "serve", "-a", place, *options],
        cwd=copy,
        env={
            **os.environ,
            "NO_MKDOCS_2_WARNING": "1",
            "PYTHONPATH": str(copy),
        },
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    address = f"http://{place}/ai-training-hub/{LESSON}/"
    times = {name: [] for name in SAVED}
    try:
        served(address, "Gradient descent")
        for number in range(SAVES):
            for name, (old, new) in SAVED.items():
                time.sleep(2)  # the last build is over
                path, word = copy / name, f"word{time.time_ns()}"
                text = path.read_text("utf-8")
                if old not in text:
                    raise AssertionError(f"{name} has no {old!r} any more")
                path.write_text(
                    text.replace(old, new.format(word), 1), "utf-8"
                )
                times[name].append(served(address, word))
                path.write_text(text, "utf-8")
                time.sleep(3 if number else 1)
    finally:
        server.terminate()
        server.wait(30)
    return times


def main():
    """Print the medians, with and without --dirty, and their ratio."""
    with tempfile.TemporaryDirectory() as folder:
        copy = copy_of_sixty(folder)
        full, dirty = saves(copy), saves(copy, "--dirty")
    for name in SAVED:
        slow, fast = (
            statistics.median(full[name]),
            statistics.median(dirty[name]),
        )
        print(
            f"{name}: {fast:.2f} s, all pages anew {slow:.2f} s, "
            f"ratio {fast / slow:.2f}"
        )


if __name__ == "__main__":
    main()
