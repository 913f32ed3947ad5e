"""Single changes of a lesson's code, and which of them its tests notice.

`python -m runnable_pages mutants fundamentals/optimizers` copies the project
into a temporary folder, changes one operator or constant of the snippet's
definitions at a time, and runs the lesson's tests. Pages aren't run: a page
that prints something else is no sign that a test knows what is right.
"""

import ast
import copy
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SWAPS = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.And: ast.Or,
    ast.Or: ast.And,
}
COPIED = ("snippets", "tests", "runnable_pages", "theme", "pyproject.toml")


class NoLesson(ValueError):
    """There is no such lesson, or its tests fail as they are."""


def mutants(source, most=None, seed=0):
    """Single changes of a module's definitions: (line, what, source).

    All of them, or at most so many, drawn by seed.

    What runs as a page, docstrings, errors that are raised, and texts are
    left as they are. line is that of source, counted from 1.
    """
    tree = ast.parse(source)
    places = _places(tree)
    numbers = range(len(places))
    if most is not None and most < len(places):
        numbers = random.Random(seed).sample(numbers, most)
    for number in numbers:
        node, field = places[number]
        changed = copy.deepcopy(tree)
        twin, _ = _places(changed)[number]
        before = ast.unparse(node)
        _change(twin, field)
        ast.fix_missing_locations(changed)
        what = f"{before}  ->  {ast.unparse(twin)}"
        yield node.lineno, what, ast.unparse(changed)


def _places(tree):
    """Nodes that can be changed, each with the field that will be."""
    definitions = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    found = []
    for statement in tree.body:
        if isinstance(statement, definitions):
            _collect(statement, found)
    return found


def _collect(node, found):
    if isinstance(node, ast.Raise | ast.JoinedStr):
        return  # words, which tests may hold or not
    if isinstance(node, ast.BinOp | ast.AugAssign) and type(node.op) in SWAPS:
        if not _is_text(getattr(node, "left", None)):
            found.append((node, "op"))
    elif isinstance(node, ast.BoolOp):
        found.append((node, "op"))
    elif isinstance(node, ast.Compare) and type(node.ops[0]) in SWAPS:
        found.append((node, "ops"))
    elif isinstance(node, ast.UnaryOp) and isinstance(
        node.op, ast.USub | ast.Not
    ):
        found.append((node, "operand"))
    elif isinstance(node, ast.Constant) and (
        _is_number(node) or isinstance(node.value, bool)
    ):
        found.append((node, "value"))
    for child in ast.iter_child_nodes(node):
        _collect(child, found)


def _is_text(node):
    value = getattr(node, "value", None)
    return isinstance(node, ast.JoinedStr) or isinstance(value, str)


def _is_number(node):
    value = getattr(node, "value", None)
    return isinstance(value, int | float) and not isinstance(value, bool)


def _change(node, field):
    """Change a node in place."""
    if field == "op":
        node.op = SWAPS[type(node.op)]()
    elif field == "ops":
        node.ops[0] = SWAPS[type(node.ops[0])]()
    elif field == "operand" and isinstance(node.op, ast.USub):
        node.op = ast.UAdd()
    elif field == "operand":  # of `not`, which another one takes back
        node.operand = ast.UnaryOp(ast.Not(), node.operand)
    elif isinstance(node.value, bool):
        node.value = not node.value
    else:
        node.value += 1  # a minus is an operator, and no part of it


def count(root, lesson, most=40, seed=0, tell=print):
    """Run a lesson's tests on some of its mutants; those that survive.

    Raises NoLesson. Returns the number tried, and (line, what) of each that
    no test noticed. most is the largest number to try, drawn by seed.
    """
    file = Path("snippets", lesson.replace("-", "_") + ".py")
    if not (root / file).is_file():
        raise NoLesson(f"there is no {file}; name a lesson, section/name")
    folder, name = file.parent.relative_to("snippets"), file.stem
    test = Path("tests/snippets", folder, f"test_{name}.py")
    source = (root / file).read_text("utf-8")
    chosen = sorted(mutants(source, most, seed))
    survivors = []
    with tempfile.TemporaryDirectory() as temporary:
        copied = Path(temporary)
        _copy(root, copied)
        start = time.monotonic()
        if not _passes(copied, test, None):
            raise NoLesson(f"{test} fails as it is; mend that first")
        limit = 10 + 5 * (time.monotonic() - start)
        for number, (line, what, source) in enumerate(chosen, 1):
            (copied / file).write_text(source, "utf-8")
            noticed = not _passes(copied, test, limit)
            if not noticed:
                survivors.append((line, what))
            word = "noticed" if noticed else "SURVIVED"
            tell(f"{number}/{len(chosen)} {word}: {file}:{line}: {what}")
    return len(chosen), survivors


def _copy(root, folder):
    for name in COPIED:
        path = root / name
        if path.is_dir():
            shutil.copytree(
                path,
                folder / name,
                ignore=shutil.ignore_patterns("__pycache__"),
            )
        elif path.is_file():
            shutil.copy(path, folder / name)


def _passes(folder, test, limit):
    """Whether the tests pass; one that never ends has noticed, too."""
    command = [sys.executable, "-B", "-m", "pytest", "-x", "-q", str(test)]
    try:
        run = subprocess.run(
            [*command, "-p", "no:cacheprovider"],
            cwd=folder,
            capture_output=True,
            timeout=limit,
        )
    except subprocess.TimeoutExpired:
        return False
    return run.returncode == 0
