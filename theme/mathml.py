"""Formulas as MathML, made at build time by latex2mathml.

A Markdown extension that follows `pymdownx.arithmatex` with `generic: true`,
and turns each formula that arithmatex found into a `<math>` element.
"""

import html
import logging
import re
from xml.etree import ElementTree

from latex2mathml.commands import MATRICES
from latex2mathml.converter import Converter
from markdown import Extension
from markdown.treeprocessors import Treeprocessor
from markdown.util import AtomicString

log = logging.getLogger("mkdocs.theme")

# How many parts these elements need: fewer is a forgotten argument.
PARTS = dict(mfrac=2, msub=2, msup=2, munder=2, mover=2, mroot=2)
PARTS |= dict(msubsup=3, munderover=3)
LIMITS = ("max", "min", "sup", "inf", "lim", "arg\u2009max", "arg\u2009min")
ENVIRONMENTS = {name.strip("\\") for name in MATRICES} | {"array"}


def to_mathml(latex, display=False):
    """Return the formula as a `<math>` element; ValueError says what's wrong.

    latex2mathml passes over much that it doesn't know: that is an error here.
    """

    def wrong(what):
        return ValueError(f"formula `{' '.join(latex.split())}`: {what}")

    bare = re.sub(r"\\[{}\\]", "", latex)
    if bare.count("{") != bare.count("}"):
        raise wrong("its braces don't pair")
    # An aligned block is what latex2mathml calls split.
    source = re.sub(r"(\\(begin|end)\{)aligned\}", r"\1split}", latex)
    for name in re.findall(r"\\begin\{(.*?)\}", source):
        if name not in ENVIRONMENTS:
            raise wrong(f"latex2mathml doesn't know the environment {name}")
    mode = "block" if display else "inline"
    try:
        math = Converter(display=mode).convert_to_element(source)
    except Exception as error:
        reason = str(error) or type(error).__name__
        raise wrong(f"latex2mathml can't read it ({reason})") from error
    for node in math.iter():
        node.text = html.unescape(node.text) if node.text else node.text
        text = (node.text or "").strip()
        if text.startswith("\\") and len(text) > 1:
            raise wrong(f"latex2mathml doesn't know {text}")
        if node.tag == "mi" and text in ("&", "{", "}"):
            raise wrong(f"a stray {text}")
        if node.tag == "mo" and not text:
            raise wrong("latex2mathml doesn't know one of its operators")
        if len(node) < PARTS.get(node.tag, 0):
            raise wrong("an argument is missing")
    mend(math, display)
    math.set("alttext", " ".join(latex.split()))
    return ElementTree.tostring(math, encoding="unicode")


def mend(math, display):
    """Set spaces and limits as TeX would, where latex2mathml leaves them."""
    for node in math.iter():
        before = None
        for part in node:
            text = (part.text or "").strip()
            name = len(text) > 1 and text.replace("\u2009", "").isalpha()
            if part.tag == "mi" and text == "~":  # \sim is a relation
                part.tag, part.text = "mo", "\u223c"
            if text == "\u221e":  # a number, not an operator
                part.tag = "mi"
            if name and part.tag in ("mi", "mo"):  # log, softmax
                part.tag = "mo"
                part.attrib |= {"lspace": "0.12em", "rspace": "0.12em"}
            fence = part.get("fence") == "true" or part.get("minsize")
            if text in ("/", "|", "\u2016") and not fence:
                space = {"lspace": "0", "rspace": "0", "stretchy": "false"}
                part.attrib |= space
            if text == "\u2212" and before is not None:  # = -1
                sign = before.tag == "mo" and before.text not in tuple(")]|!")
                part.attrib |= {"form": "prefix"} if sign else {}
            if part.tag == "msub" and display:  # the minimum over ...
                limits = part[0].tag == "mo" and part[0].text in LIMITS
                part.tag = "munder" if limits else "msub"
            before = part


class MathML(Treeprocessor):
    """Replaces what arithmatex left in the tree, and reports what it can't."""

    def run(self, root):
        for element in root.iter():
            loose = "" if element.tag == "code" else element.text or ""
            after = element.tail or ""
            formula = element.get("class") == "arithmatex"
            if "$$" in loose + after or formula and after.startswith("$"):
                self.report(ValueError("$$ belongs on a line of its own"))
            if not formula:
                continue
            display = element.tag == "div"
            latex = element.text.strip()[2:-2].strip()
            latex = html.unescape(latex) if display else latex
            try:
                math = to_mathml(latex, display)
            except ValueError as error:
                math = self.report(error)
            element.text = AtomicString(self.md.htmlStash.store(math))
            if display and len(re.sub(r"<.*?>", "", math)) > 24:
                # It may scroll on a phone, and so must be in a key's reach.
                element.set("tabindex", "0")

    def report(self, error):
        """Log the mistake, which fails a strict build, and show it."""
        place = self.md.treeprocessors
        place = place["relpath"].file.src_uri if "relpath" in place else ""
        log.error("%s%s", f"docs/{place}: " if place else "", error)
        return f'<strong class="math-error">{html.escape(str(error))}</strong>'


class MathMLExtension(Extension):
    def extendMarkdown(self, md):
        # After the inline patterns (20), before the table of contents (5).
        md.treeprocessors.register(MathML(md), "mathml", 15)


def makeExtension(**options):
    return MathMLExtension(**options)
