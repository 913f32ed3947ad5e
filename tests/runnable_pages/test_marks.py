"""The marks above fences are for the run, and not for readers."""

from markdown import markdown

PAGE = """\
<!--runnable-pages:tolerance=0.1-->
```python
print("<!--pytest.mark.skip-->")
```

<!--pytest-codeblocks:expected-output-->
```text
1
```

=== "Tab"

    <!--pytest-codeblocks:importorskip(jax)-->
    ```python
    print(2)
    ```

    <!--pytest-codeblocks:expected-output-->
    ```text
    2
    ```

<!-- any other comment -->
"""
CONFIGS = {"pymdownx.tabbed": {"alternate_style": True}}


def convert(*extensions):
    return markdown(
        PAGE,
        extensions=["pymdownx.superfences", "pymdownx.tabbed", *extensions],
        extension_configs=CONFIGS,
    )


def test_marks_are_not_published():
    """Without the extension they are, in paragraphs around the blocks."""
    assert "<p><!--pytest" in convert()
    page = convert("runnable_pages.marks")
    assert "importorskip" not in page
    assert "expected-output" not in page
    assert "tolerance" not in page
    assert "<p>" not in page


def test_everything_else_is():
    """Code that looks like a mark, and other comments, are left alone."""
    page = convert("runnable_pages.marks")
    assert "&lt;!--pytest.mark.skip--&gt;" in page
    assert "<!-- any other comment -->" in page
    assert page.count('<div class="highlight">') == 4
