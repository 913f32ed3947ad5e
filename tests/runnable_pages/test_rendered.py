"""The code in a page's HTML, found by a quick look and by a parser."""

import pytest

from runnable_pages.rendered import code_of, parse_html

BLOCK = '<div class="highlight"><pre><span></span><code>x = 1\n</code></pre>'
DOC = '<div class="doc doc-object"><div><pre>of a docstring</pre></div></div>'


@pytest.mark.parametrize(
    ("html", "code"),
    [
        ("<p>no code</p>", []),
        (BLOCK + "</div>", ["x = 1"]),
        ("<pre>a &lt; b\n\n  c</pre><pre>d</pre>", ["a < b\n\n  c", "d"]),
        (DOC, []),
        (DOC + "<pre>after it</pre>", ["after it"]),
        ('<div class="doc"><pre>alone</pre></div>', []),
        ('<div class="docs"><pre>no docstring</pre></div>', ["no docstring"]),
        ("</div><pre>behind a stray end</pre>", ["behind a stray end"]),
        ("<pre>first</pre></pre><pre>second</pre>", ["first", "second"]),
        ("<pre>never ends", []),
        ('<pre class="a"\nid="b">attributes</pre>', ["attributes"]),
        ("<preface>no code</preface>", []),
    ],
)
def test_a_quick_look_finds_the_code_that_a_parser_finds(html, code):
    assert code_of(html) == code
    assert parse_html(html).code == code
