"""`python -m runnable_pages check`, `lesson`, `portable` and `mutants`."""

import argparse
import sys
from pathlib import Path

from runnable_pages.check import check


def main(arguments=None):
    """Run a command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m runnable_pages")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("check", help="list every mistake; runs no page")
    lesson = commands.add_parser("lesson", help="make a new lesson's files")
    lesson.add_argument("name", help="section/name, as in fundamentals/pca")
    others = commands.add_parser(
        "portable", help="run pytest under the arithmetics of processors"
    )
    others.add_argument("--only", help="one arithmetic: plain, lowest, ...")
    others.add_argument("arguments", nargs="*", help="of pytest, after --")
    single = commands.add_parser(
        "mutants", help="change a lesson's code; count what tests notice"
    )
    single.add_argument("name", help="section/name, as in fundamentals/pca")
    single.add_argument("--most", type=int, default=40, help="how many to try")
    single.add_argument("--seed", type=int, default=0, help="which, of more")
    options = parser.parse_args(arguments)
    if options.command == "lesson":
        return _lesson(options.name)
    if options.command == "portable":
        return _portable(options)
    if options.command == "mutants":
        return _mutants(options)
    mistakes = check(Path.cwd())
    for mistake in mistakes:
        print(mistake)
    print(f"mistakes in pages and snippets: {len(mistakes)}")
    return 1 if mistakes else 0


def _portable(options):
    from runnable_pages.portable import portable

    try:
        return portable(options.arguments, options.only)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2


def _mutants(options):
    from runnable_pages.mutants import NoLesson, count

    try:
        tried, survivors = count(
            Path.cwd(), options.name, options.most, options.seed
        )
    except NoLesson as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{options.name}: {tried - len(survivors)} of {tried} noticed")
    for line, what in survivors:
        print(f"  line {line} survived: {what}")
    return 0


def _lesson(name):
    from runnable_pages.scaffold import LessonError, make_lesson

    try:
        for path in make_lesson(Path.cwd(), name):
            print(f"made {path}")
    except LessonError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
