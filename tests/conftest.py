"""Settings of all tests, and the memory of those that passed."""

import functools
import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import settings

from runnable_pages.memory import (
    PASSED,
    fingerprint,
    is_named,
    recall,
    remember,
    with_imports,
)

# In CI a red run has to be a change's fault, so it draws the same examples
# each time. Elsewhere new ones are drawn, and find more as time goes by.
settings.register_profile("ci", derandomize=True, deadline=None)
settings.register_profile("here", deadline=None)
settings.load_profile("ci" if os.environ.get("CI") else "here")

ROOT = Path(__file__).parents[1]
# What these depend on can be seen from their imports. The tests of the site
# depend on all of it, and remember for themselves what they saw.
REMEMBERED = ("runnable_pages", "snippets")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    """Skip what passed before, unless it is named or its lines are counted."""
    counted = item.config.getoption("cov_source", None)
    if counted or not _may_remember(item) or is_named(item.config, item.path):
        return
    if recall(item.config, _key(item), _depends_on(item.path)) is not None:
        pytest.skip(PASSED)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Remember what passes."""
    report = yield
    if call.when == "call" and report.passed and _may_remember(item):
        remember(item.config, _key(item), _depends_on(item.path))
    return report


def _may_remember(item):
    return item.path.relative_to(item.config.rootpath).parts[1] in REMEMBERED


def _key(item):
    """Names of tests may be long, and hold what no file's name may."""
    return "tests/" + hashlib.sha256(item.nodeid.encode()).hexdigest()


@functools.cache
def _depends_on(path):
    """The fingerprint of a test file, its fixtures and all they import.

    And of screenshots, which a test may hold to the code that they show.
    """
    folders = [folder for folder in path.parents if ROOT in folder.parents]
    fixtures = [folder / "conftest.py" for folder in folders]
    settings = ROOT / "pyproject.toml"
    pictures = ROOT.glob("docs/**/*.png")
    return fingerprint(
        with_imports(ROOT, [path, settings, *fixtures, *pictures])
    )
