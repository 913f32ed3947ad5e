"""`make bench`: ratios, each measured within one run, quiet machines only."""

import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import (
    fundamentals,
    gpt_speed,
    neural_network,
    serving,
    unsupervised,
)
from runnable_pages.page import read_page
from runnable_pages.project import Project
from runnable_pages.session import PageRun, prepare

ROOT = Path(__file__).parents[1]
RUNS = 5


def seconds(action):
    """How long the action takes."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def ratio(one, other):
    """Median times of two actions, run in turn, and the ratio of the two."""
    pairs = [(seconds(one), seconds(other)) for _ in range(RUNS)]
    first, second = (
        statistics.median(side) for side in zip(*pairs, strict=True)
    )
    ratios = [a / b for a, b in pairs]
    return first, second, statistics.median(ratios)


def build(folder, config):
    """An action that builds the site in `folder` with that configuration."""
    command = [sys.executable, "-m", "mkdocs", "build", "-q", "-f", config]
    return lambda: subprocess.run(command, cwd=folder, check=True)


def bench_build(folder):
    """The site's build, with the checks of runnable_pages and without."""
    copy = Path(folder) / "copy"
    skipped = shutil.ignore_patterns(".git", ".venv", ".*_cache", "site")
    shutil.copytree(ROOT, copy, ignore=skipped)
    config = (copy / "mkdocs.yml").read_text("utf-8")
    plain = re.sub(r"(?m)^hooks: .*\n", "", config)
    if plain == config:
        raise AssertionError("mkdocs.yml has no line of hooks to leave out")
    (copy / "plain.yml").write_text(plain, "utf-8")
    with_checks, without, share = ratio(
        build(copy, "mkdocs.yml"), build(copy, "plain.yml")
    )
    print(f"build with checks {with_checks:.2f} s, without {without:.2f} s")
    print(f"  ratio {share:.2f}, wanted at most 1.10")


def bench_start():
    """A page's first block, against an interpreter with the same imports."""
    project = Project.load(ROOT)
    prepare(project.settings["preload"])
    page = read_page(
        project, project.docs / "fundamentals/gradient-descent.md"
    )

    def start_page():
        run = PageRun(project, page)
        run.run(0)
        run.close()

    imports = "; ".join(
        f"import {name}" for name in project.settings["preload"]
    )
    command = [sys.executable, "-c", imports]
    start_page()  # the fork server itself starts once
    ours, theirs, share = ratio(
        start_page, lambda: subprocess.run(command, check=True)
    )
    print(f"page {ours:.3f} s, new interpreter {theirs:.3f} s")
    print(f"  ratio {share:.3f}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        bench_build(folder)
    bench_start()
    serving.main()
    for module in (fundamentals, unsupervised, neural_network, gpt_speed):
        module.main()
