"""`make bench`: ratios, each measured within one run, quiet machines only."""

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.fundamentals import main as fundamentals
from benchmarks.gpt_speed import main as gpt_speed
from runnable_pages.pages import read_page
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
    """An action that builds the site with that configuration."""
    command = [sys.executable, "-m", "mkdocs", "build", "-q", "-f", config]
    return lambda: subprocess.run(
        [*command, "-d", f"{folder}/site"], cwd=ROOT, check=True
    )


def bench_build(folder):
    """The site's build, with the checks of runnable_pages and without."""
    without = Path(folder) / "mkdocs.yml"
    without.write_text(
        f"INHERIT: {ROOT}/mkdocs.yml\n"
        f"docs_dir: {ROOT}/docs\nhooks: []\n"
        f"theme:\n  custom_dir: {ROOT}/overrides\n",
        "utf-8",
    )
    with_checks, plain, share = ratio(
        build(folder, str(ROOT / "mkdocs.yml")), build(folder, str(without))
    )
    print(f"build with checks {with_checks:.2f} s, without {plain:.2f} s")
    print(f"  ratio {share:.2f}, wanted at most 1.10")


def bench_start():
    """A page's first block, against an interpreter with the same imports."""
    project = Project.load(ROOT)
    prepare(project.preload)
    page = read_page(
        project, project.docs / "fundamentals/gradient-descent.md"
    )

    def start_page():
        run = PageRun(project, page)
        run.run(0)
        run.close()

    imports = "; ".join(f"import {name}" for name in project.preload)
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
    gpt_speed()
    fundamentals()
