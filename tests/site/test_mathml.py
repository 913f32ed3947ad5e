"""Formulas become MathML, and a formula that can't says so."""

import logging
from xml.etree import ElementTree

import pytest
from markdown import markdown

from theme.mathml import to_mathml

EXTENSIONS = [
    "admonition",
    "pymdownx.tabbed",
    "pymdownx.arithmatex",
    "theme.mathml",
]
CONFIGS = {
    "pymdownx.arithmatex": {"generic": True},
    "pymdownx.tabbed": {"alternate_style": True},
}
MATH = "{http://www.w3.org/1998/Math/MathML}"


def convert(text):
    return markdown(text, extensions=EXTENSIONS, extension_configs=CONFIGS)


@pytest.mark.parametrize(
    ("latex", "message"),
    [
        (r"\frac{1}", "an argument is missing"),
        (r"\nosuch{x}", r"doesn't know \nosuch"),
        (r"a_{b", "braces don't pair"),
        (r"a}", "braces don't pair"),
        (r"\left( x", "can't read it"),
        (r"x^", "can't read it"),
        (r"a & b", "a stray &"),
        (r"\begin{nosuch}a\end{nosuch}", "environment nosuch"),
        (r"\operatorname*{arg\,max}_x", "one of its operators"),
    ],
)
def test_a_bad_formula_is_named(latex, message):
    with pytest.raises(ValueError, match="^formula `") as caught:
        to_mathml(latex)
    assert message in str(caught.value)
    assert latex in str(caught.value)


@pytest.mark.parametrize(
    "latex",
    [
        r"\{a\} \| x \|",
        r"\begin{aligned} a &= b \\ c &= d \end{aligned}",
        r"\begin{cases} 0 & x < 0 \\ x & x \ge 0 \end{cases}",
        r"\text{for all } x \in \mathbb{R}^n",
        r"\operatorname{softmax}\left(\frac{Q K^\top}{\sqrt{d}}\right)",
    ],
)
def test_a_good_formula_is_well_formed(latex):
    math = ElementTree.fromstring(to_mathml(latex, display=True))
    assert math.tag == f"{MATH}math"
    assert math.get("display") == "block"
    assert math.get("alttext") == latex


def test_inline_and_display():
    page = convert("Let $a < b$.\n\n$$\na < b\n$$\n")
    assert page.count("<math") == 2
    assert page.count('display="inline"') == 1
    assert page.count('display="block"') == 1
    assert page.count("<mo>&lt;</mo>") == 2
    assert page.count('alttext="a &lt; b"') == 2
    assert "$" not in page


def test_display_in_admonitions_and_tabs():
    page = convert(
        '!!! warning "W"\n\n    $$\n    x^2\n    $$\n\n'
        '=== "T"\n\n    $$\n    y^2\n    $$\n'
    )
    assert page.count('display="block"') == 2
    assert "$$" not in page


def test_code_is_left_alone():
    page = convert("The code `$$x$$` and `$x$`.")
    assert "<math" not in page
    assert "$$x$$" in page


def test_tex_spacing():
    math = ElementTree.fromstring(
        to_mathml(r"\lVert x \rVert \sim \log x = -1 \max_w a", display=True)
    )
    operators = {node.text: node.attrib for node in math.iter(f"{MATH}mo")}
    assert operators["\u2016"]["stretchy"] == "false"
    assert "\u223c" in operators
    assert operators["log"]["rspace"] == "0.12em"
    assert operators["\u2212"]["form"] == "prefix"
    assert math.find(f".//{MATH}munder")[0].text == "max"
    assert math.find(f".//{MATH}msub") is None
    assert "<mi>\u221e</mi>" in to_mathml(r"-\infty")
    inline = to_mathml(r"a - 1, \max_w a")
    assert "prefix" not in inline
    assert "munder" not in inline


def test_left_and_right_still_stretch():
    assert 'stretchy="false"' not in to_mathml(r"\left\lVert x \right\rVert")


@pytest.mark.parametrize(
    ("page", "message"),
    [
        (r"The $\nosuch$ one.", r"formula `\nosuch`"),
        ("$$\n\\frac{1}\n$$\n", "formula `\\frac{1}`: an argument"),
        ("An inline $$x$$ one.", "$$ belongs on a line of its own"),
        ("Text\n$$\nx\n$$\nand more", "$$ belongs on a line of its own"),
    ],
)
def test_a_mistake_on_a_page_is_logged_and_shown(page, message, caplog):
    """A strict build fails on the log; a served page shows the mistake."""
    with caplog.at_level(logging.WARNING, logger="mkdocs"):
        html = convert(page)
    assert message in caplog.text
    assert "$$" in message or "math-error" in html


def test_a_long_formula_can_be_scrolled_by_keyboard():
    long = " + ".join("abcdefghijklmnop")
    assert 'tabindex="0"' in convert(f"$$\n{long}\n$$\n")
    assert "tabindex" not in convert("$$\na + b\n$$\n")
