"""Is what a block printed what its page shows?"""

import difflib
import math
import re

NUMBER = re.compile(
    r"[-+]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d*)?(?:[eE][-+]?\d+)?"
    r"|[-+]?\.\d+(?:[eE][-+]?\d+)?"
)


PROGRESS = re.compile(r"[^\n]*\r(?!\n)")
ESCAPE = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


def as_on_screen(text):
    """What is left of printed text on a terminal: \\r begins a line anew."""
    return PROGRESS.sub("", text.replace("\r\n", "\n"))


def why_not_shown(text):
    """Why a page can't show this output as it was printed, or nothing."""
    lines = [line for line in text.split("\n") if line.strip()]
    if ESCAPE.search(text):
        return "prints escape codes of a terminal (colours?); switch them off"
    if lines and all(line[0] in " \t" for line in lines):
        return (
            "begins each line with a space, which the page can't show; print "
            "one line without, or strip them"
        )
    if any(line.lstrip().startswith("```") for line in lines):
        return (
            "prints ```, which would end the output on the page; print its "
            "repr, or something between"
        )
    if "8<-" in text:
        return "prints 8<-, which the page would take for an include"
    return ""


def compare_text(shown, printed, tolerance, names=("shown", "printed")):
    """How printed text differs from the shown one; empty when it doesn't.

    Text has to be equal, runs of spaces aside, and so do whole numbers.
    Numbers with a point or an exponent may differ by the relative
    `tolerance`, or by half of their last shown digit where that is more.
    """
    shown_lines = shown.rstrip().split("\n")
    printed_lines = printed.rstrip().split("\n")
    reasons = []
    if len(shown_lines) != len(printed_lines):
        reasons.append(
            f"{len(shown_lines)} lines {names[0]}, {len(printed_lines)} "
            f"{names[1]}"
        )
    for number, (left, right) in enumerate(
        zip(shown_lines, printed_lines, strict=False), 1
    ):
        reason = _compare_line(left, right, tolerance, names)
        if reason:
            reasons.append(f"line {number}: {reason}")
    if not reasons:
        return ""
    diff = difflib.unified_diff(
        shown_lines, printed_lines, *names, lineterm="", n=1
    )
    return "\n".join([*reasons[:5], "", *diff])


def _compare_line(shown, printed, tolerance, names):
    if _words(shown) != _words(printed):
        return "the text differs"
    for left, right in zip(
        NUMBER.findall(shown), NUMBER.findall(printed), strict=True
    ):
        if not close(left, right, tolerance):
            apart = _apart(left, right, tolerance)
            return f"{left} {names[0]}, {right} {names[1]}{apart}"
    return None


def _words(line):
    """The line without its numbers and without spaces beside them."""
    return [" ".join(part.split()) for part in NUMBER.split(line)]


def close(shown, printed, tolerance):
    """Whether two numbers, given as text, are the same for a reader."""
    if is_whole(shown) or is_whole(printed):
        return _value(shown) == _value(printed) and is_whole(
            shown
        ) == is_whole(printed)
    left, right = _value(shown), _value(printed)
    if not math.isfinite(left + right):  # 89504e470d begins a PNG file
        return shown == printed
    slack = max(tolerance * abs(left), 0.5 * _last_digit(shown))
    return abs(left - right) <= slack * (1 + 1e-9)


def is_whole(number):
    """Whether the text is a whole number: counts have to be exact."""
    return not re.search(r"[.eE]", number)


def _value(number):
    return float(number.replace(",", ""))


def _last_digit(number):
    """The size of one unit in the number's last digit."""
    mantissa, _, exponent = number.lower().partition("e")
    places = len(mantissa.partition(".")[2])
    return math.pow(10, int(exponent or 0) - places)


def _apart(shown, printed, tolerance):
    left, right = _value(shown), _value(printed)
    if is_whole(shown) or left == 0:
        return ""
    share = abs(left - right) / abs(left)
    return f" ({share:.2%} apart, the tolerance is {tolerance:.2g})"
