#!/usr/bin/env bash
# pytest_codeblocks 0.18.0: of a fence that is indented (in a tab or a list),
# extract_from_buffer leaves out the blank lines; of one that isn't, it keeps
# them. So the text that runs is not the text that the page shows.
#
# Seen: 'x = 1\n\ny = 2\n' from the fence at the margin, and the same without
# its blank line from the indented one.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet pytest_codeblocks==0.18.0 pytest==9.2.0
"$folder/venv/bin/python" - <<'PY'
import io
import textwrap

from pytest_codeblocks.main import extract_from_buffer

FENCE = "```python\nx = 1\n\ny = 2\n```\n"


def code(text):
    """The code of the only block, without common indentation."""
    [block] = extract_from_buffer(io.StringIO(text))
    return textwrap.dedent(block.code)


plain, indented = code(FENCE), code("- item\n\n" + textwrap.indent(FENCE, "    "))
print(repr(plain), repr(indented))
assert plain == "x = 1\n\ny = 2\n", "the behaviour has changed"
assert indented.strip() == "x = 1\ny = 2", "the behaviour has changed"
PY
