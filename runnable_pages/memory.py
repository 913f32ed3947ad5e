"""What passed and hasn't changed since need not run again.

It is remembered in pytest's cache: a fresh checkout, such as CI's, remembers
nothing, and `pytest --cache-clear` forgets.
"""

import functools
import hashlib
import json
import os
import sys
from importlib.metadata import distributions
from pathlib import Path

from runnable_pages.sections import imported

PASSED = "passed, and nothing changed since (--cache-clear runs it again)"


def recall(config, key, fingerprint):
    """What was told when the key passed with this fingerprint, or None."""
    cache = getattr(config, "cache", None)
    passed = cache.get(key, None) if cache else None
    return passed[1] if passed and passed[0] == fingerprint else None


def remember(config, key, fingerprint, told=()):
    """Remember that the key passed with this fingerprint, and what it told."""
    cache = getattr(config, "cache", None)
    if cache:
        cache.set(key, [fingerprint, told])


def is_named(config, path):
    """Whether the command line names this file: then it runs in any case."""
    folder = config.invocation_params.dir
    return path in [folder / arg.partition("::")[0] for arg in config.args]


def fingerprint(files, *texts):
    """The hash of files, by place and content, texts, and what is installed.

    files are paths of one folder, or below it.
    """
    hashed = hashlib.sha256(json.dumps([_installed(), texts]).encode())
    files = sorted(files)
    folder = os.path.commonpath(files)
    for path in files:
        hashed.update(os.path.relpath(path, folder).encode())
        hashed.update(path.read_bytes())
    return hashed.hexdigest()


@functools.cache
def _installed():
    """Python and all packages, with their versions; and this package."""
    own = [
        path.read_text("utf-8") for path in Path(__file__).parent.glob("*.py")
    ]
    found = [f"{d.name} {d.version}" for d in distributions()]
    return sys.version, sorted(found), sorted(own)


def sources(project, page):
    """The files that a page's run can depend on, as a set.

    Itself, what it shows, the snippets that those import, and its figures.
    """
    path = project.root / page.name
    files = {project.root / "mkdocs.yml", path}
    files |= set(path.with_suffix("").glob("*.svg"))
    shown = [project.snippets / include.file for include in page.includes()]
    if any(block.language != "python" for block in page.runnable()):
        shown += project.snippet_files()  # a command may call any
    return files | with_imports(project.root, shown)


def with_imports(root, paths):
    """The files, those they import from root, and measured results of both."""
    files, left = set(), list(paths)
    while left:
        path = left.pop()
        if path.is_file() and path not in files:
            files.add(path)
            left.append(path.with_suffix(".results.json"))
            names = [name.replace(".", "/") for _, name in imported(path)]
            left += [root / f"{name}.py" for name in names]
    return files
