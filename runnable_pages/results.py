"""Results of runs that are too long, or need a machine that CI hasn't.

A results file stands beside its snippet as `x.results.json`. It says which
command made it, where and when, and holds the hash of the sections that it
measured, so that a result can't outlive its code in silence.
"""

import hashlib
import json
import os
import platform
from datetime import date
from importlib.metadata import version
from pathlib import Path

from pymdownx.snippets import SnippetMissingError

from runnable_pages.project import Mistake

KEYS = {"command", "date", "device", "versions", "code", "results"}


def write_results(project, file, sections, command, packages, results):
    """Write `snippets/<file>` (x.results.json); returns its path.

    sections names what was measured, of the snippet x.py, or of another one
    as in "section/y.py:name". packages are those whose versions matter.
    results is plain data, times in seconds.
    """
    snippet = file.replace(".results.json", ".py")
    data = {
        "command": command,
        "date": date.today().isoformat(),
        "device": device(),
        "versions": {
            "python": platform.python_version(),
            **{package: version(package) for package in packages},
        },
        "code": {name: digest(project, snippet, name) for name in sections},
        "results": results,
    }
    path = project.snippets / file
    path.write_text(json.dumps(data, indent=2) + "\n", "utf-8")
    return path


def device():
    """The processor's name and number of cores."""
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().split("\n"):
            if line.startswith("model name"):
                name = line.partition(":")[2].strip()
    return f"{name}, {os.cpu_count()} cores"


def digest(project, snippet, section):
    """The hash of a section's text, of the snippet or of the file it names."""
    text = project.include(*_place(snippet, section))
    return hashlib.sha256(text.encode()).hexdigest()


def _place(snippet, section):
    """The file and the name of a section, which may name another file."""
    file, _, name = section.rpartition(":")
    return file or snippet, name


def result_mistakes(project, path):
    """What is wrong with a results file: stale, unread, or not one."""
    name = project.name(path)
    code = path.with_name(path.name.replace(".results.json", ".py"))
    if not code.is_file() or path.name not in code.read_text("utf-8"):
        text = f"{code.name} does not read these results; delete them"
        return [Mistake(name, 1, text)]
    try:
        data = json.loads(path.read_text("utf-8"))
        missing = KEYS - data.keys()
    except (ValueError, AttributeError):
        return [Mistake(name, 1, "is no results file; make it by a command")]
    if missing:
        text = f"lacks {', '.join(sorted(missing))}; make it by a command"
        return [Mistake(name, 1, text)]
    snippet = code.relative_to(project.snippets).as_posix()
    mistakes = []
    for section, recorded in data["code"].items():
        if _now(project, snippet, section) != recorded:
            file, own = _place(code.name, section)
            text = (
                f'section "{own}" of {file} has changed since these results '
                f"were measured; run {data['command']}"
            )
            mistakes.append(Mistake(name, 1, text))
    return mistakes


def _now(project, snippet, section):
    try:
        return digest(project, snippet, section)
    except SnippetMissingError:  # gone, which is a change too
        return None


def results_of(project, files):
    """What the results files beside these snippets say, by their command."""
    paths = {
        (project.snippets / file).with_suffix(".results.json")
        for file in files
    }
    return [
        json.loads(path.read_text("utf-8"))
        for path in sorted(paths)
        if path.is_file() and not result_mistakes(project, path)
    ]
