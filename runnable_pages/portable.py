"""`make portable`: pages and tests under the arithmetics of other processors.

Each is a run of pytest of its own, since a library chooses its arithmetic when
it is loaded.
"""

import os
import subprocess
import sys

from runnable_pages.arithmetic import arithmetics


def portable(arguments, only=None):
    """Run pytest with these arguments under each arithmetic, or `only` one.

    Returns the exit status: that of the last run that failed, or 0. Raises
    ValueError for an unknown name.
    """
    known = {arithmetic.name: arithmetic for arithmetic in arithmetics()}
    if only is not None and only not in known:
        raise ValueError(
            f"no arithmetic {only!r}; there are {', '.join(known)}"
        )
    status, told = 0, []
    for arithmetic in known.values():
        if only not in (None, arithmetic.name):
            continue
        if arithmetic.left_out:
            told.append(f"{arithmetic.name}: left out, {arithmetic.left_out}")
            continue
        print(f"== arithmetic: {arithmetic.name}", flush=True)
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *arguments],
            env={**os.environ, **arithmetic.environment},
            check=False,
        )
        status = done.returncode or status
        result = "failed" if done.returncode else "agrees"
        told.append(f"{arithmetic.name}: {result}")
    print("== under the arithmetics of other processors", *told, sep="\n")
    return status
