"""The processor's seconds of all pages, against an older commit's.

Run `python -m benchmarks.pages COMMIT`. It runs the pages of this checkout
and then those of the commit, each with two workers, and counts user and
system seconds of every process. The commit's pages start in interpreters of
their own (`--fresh`) where they have no other way.
"""

import ctypes
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
PYTEST = ["-m", "pytest", "-q", "-n", "2", "-p", "no:cacheprovider", "docs"]
PR_SET_CHILD_SUBREAPER = 36


def cpu_seconds(tree, *options):
    """User and system seconds of the pages of a tree.

    Pages are children of a fork server that outlives its parent. So this
    process adopts orphans (Linux only), and waits for all.
    """
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, *PYTEST, *options],
        cwd=tree,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(tree)},
        capture_output=True,
        text=True,
    )
    while True:
        try:
            os.wait()
        except ChildProcessError:
            break
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(f"{Path(tree).name}: {done.stdout.strip().splitlines()[-1]}")
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main(commit, *options):
    """Print both, and the ratio."""
    with tempfile.TemporaryDirectory() as folder:
        old = Path(folder) / commit
        git = ["git", "-C", str(ROOT), "worktree"]
        subprocess.run([*git, "add", "--detach", str(old), commit], check=True)
        try:
            now = cpu_seconds(ROOT)
            then = cpu_seconds(old, *options)
        finally:
            subprocess.run([*git, "remove", "--force", str(old)], check=True)
    print(f"CPU seconds now {now:.0f}, then {then:.0f}")
    print(f"  ratio {now / then:.2f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
