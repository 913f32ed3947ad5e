#!/usr/bin/env bash
# pymdown-extensions 13.1.2 with Markdown 3.11.3: a fence with title="..." is a
# code block only while Pygments is on. With `use_pygments: false` the very same
# fence isn't recognised: no <pre> comes out, and nothing warns.
#
# Seen: with Pygments 1 <pre>, without 0; without a title, 1 either way.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet pymdown-extensions==13.1.2 Markdown==3.11.3 Pygments==2.21.0
"$folder/venv/bin/python" - <<'PY'
import markdown

FENCE = '```python{}\nx = 1\n```\n'


def blocks(title, pygments):
    """How many <pre> the fence becomes."""
    html = markdown.markdown(
        FENCE.format(title),
        extensions=["pymdownx.superfences", "pymdownx.highlight"],
        extension_configs={"pymdownx.highlight": {"use_pygments": pygments}},
    )
    return html.count("<pre")


seen = {
    (bool(title), pygments): blocks(title, pygments)
    for title in ("", ' title="a.py"')
    for pygments in (True, False)
}
print(seen)
assert seen == {
    (False, True): 1, (False, False): 1, (True, True): 1, (True, False): 0
}, "the behaviour has changed"
PY
