"""Keeps the marks above fences out of what is published.

A Markdown extension. A mark such as `<!--pytest-codeblocks:expected-output-->`
is for the run alone. In a tab or a box Markdown would make a paragraph of it,
with the code block inside, which no browser accepts.
"""

import re

from markdown import Extension
from markdown.preprocessors import Preprocessor

MARK = re.compile(r"[ \t]*<!--(pytest|runnable-pages).*-->[ \t]*")


class Marks(Preprocessor):
    """Empties the lines of marks, once the fences are out of the text."""

    def run(self, lines):
        return ["" if MARK.fullmatch(line) else line for line in lines]


class MarksExtension(Extension):
    def extendMarkdown(self, md):
        # After superfences (25), before raw HTML is taken out (20).
        md.preprocessors.register(Marks(md), "runnable-pages-marks", 24)


def makeExtension(**options):
    return MarksExtension(**options)
