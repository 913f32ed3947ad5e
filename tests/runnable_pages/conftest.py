"""A small project, made anew for each test, with a page that runs."""

import textwrap

import pytest

MKDOCS = """\
site_name: Sample
theme: material
markdown_extensions:
  - admonition
  - attr_list
  - md_in_html
  - pymdownx.arithmatex:
      generic: true
  - theme.mathml
  - pymdownx.details
  - pymdownx.superfences
  - pymdownx.tabbed:
      alternate_style: true
  - pymdownx.snippets:
      base_path: [snippets]
      check_paths: true
      dedent_subsections: true
      restrict_base_path: true
validation:
  nav:
    omitted_files: warn
    not_found: warn
  links:
    anchors: warn
    absolute_links: warn
nav:
  - index.md
  - lessons/sums.md
"""
INDEX = """\
# Home

See [sums](lessons/sums.md#sums).
"""
PAGE = """\
# Sums

First the function:

```python title="snippets/lessons/sums.py"
--8<-- "lessons/sums.py:add"
```

Then its use:

```python title="snippets/lessons/sums.py"
--8<-- "lessons/sums.py:use"
```

<!--pytest-codeblocks:expected-output-->
```text title="Output"
--8<-- "lessons/sums.out:use"
```
"""
SNIPPET = '''\
"""Sums, and what they come to."""


# --8<-- [start:add]
def add(a, b):
    return a + b


# --8<-- [end:add]


if __name__ == "__main__":
    # --8<-- [start:use]
    total = add(1.5, 2)
    print(f"total {total:.3f} of 2 terms")
    # --8<-- [end:use]
'''
OUT = """\
--8<-- [start:use]
total 3.500 of 2 terms
--8<-- [end:use]
"""
FILES = {
    "mkdocs.yml": MKDOCS,
    "pytest.ini": "[pytest]\npythonpath = .\ntestpaths = mkdocs.yml docs\n",
    "pyproject.toml": '[tool.runnable_pages.dark]\n"#1f77b4" = "#aec7e8"\n',
    "docs/index.md": INDEX,
    "docs/lessons/sums.md": PAGE,
    "snippets/__init__.py": "",
    "snippets/lessons/__init__.py": "",
    "snippets/lessons/sums.py": SNIPPET,
    "snippets/lessons/sums.out": OUT,
    "tests/snippets/lessons/__init__.py": "",
    "tests/snippets/lessons/test_sums.py": "",
}


class Sample:
    """A project in a temporary folder."""

    def __init__(self, root):
        self.root = root
        for name, text in FILES.items():
            self.write(name, text)

    def write(self, name, text):
        """Write a file: text, or bytes."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(text, bytes):
            path.write_bytes(text)
        else:
            path.write_text(text, "utf-8")

    def read(self, name):
        """A file's text."""
        return (self.root / name).read_text("utf-8")

    def edit(self, name, old, new):
        """Replace text that must be there."""
        text = self.read(name)
        assert old in text, f"{old!r} is not in {name}"
        self.write(name, text.replace(old, new, 1))

    def page(self, *blocks, settings=""):
        """One page whose blocks are these pieces of code, without output."""
        code = ['"""Made for a test."""\n\n']
        page = [f"---\n{settings}\n---\n\n" if settings else "", "# Sums\n"]
        for number, block in enumerate(blocks, 1):
            body = textwrap.indent(textwrap.dedent(block).strip(), "    ")
            code += [
                f'if __name__ == "__main__":\n    # --8<-- [start:b{number}]\n'
                f"{body}\n    # --8<-- [end:b{number}]\n\n"
            ]
            page += [f'\n```python\n--8<-- "lessons/sums.py:b{number}"\n```\n']
        self.write("docs/lessons/sums.md", "".join(page))
        self.write("snippets/lessons/sums.py", "".join(code))
        self.write("snippets/lessons/sums.out", "")


@pytest.fixture
def sample(tmp_path):
    """A project without a mistake."""
    return Sample(tmp_path)
