"""What a page becomes: the code, pictures, links and anchors in its HTML.

The HTML is the independent witness. Whatever disguise a piece of code has in
the Markdown, in the HTML it stands in a `<pre>`, and there it has to be the
text of a snippet's section.
"""

import re
from dataclasses import dataclass, field
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import markdown

from runnable_pages.pages import RECORD
from runnable_pages.project import Mistake
from runnable_pages.sections import INCLUDE, MARK, read_snippet

# Docstrings that mkdocstrings puts in, and numbers beside lines of code.
NOT_OURS = {"doc", "linenodiv"}
HIGHLIGHT = "pymdownx.highlight"
REMOTE = ("http:", "https:", "//")
LOADS = {"img": "src", "script": "src", "iframe": "src", "video": "src"}
TAG = re.compile(r"<(?P<end>/?)(?P<name>div|pre)\b(?P<attributes>[^>]*)>")
DOC = re.compile(r'class="doc[ "]')
FIGURE = re.compile(r"^(?P<stem>.+?)(?P<dark>-dark)?\.svg$")


@dataclass
class Html(HTMLParser):
    """Collects a page's code, images, links and anchors."""

    code: list = field(default_factory=list)
    images: list = field(default_factory=list)  # (src, alt)
    links: list = field(default_factory=list)
    ids: set = field(default_factory=set)
    loads: list = field(default_factory=list)
    formulas: list = field(default_factory=list)  # what is wrong with them

    def __post_init__(self):
        super().__init__(convert_charrefs=True)
        self._pre = None
        self._formula = False
        self._doc_depth = 0

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        if "id" in attrs:
            self.ids.add(attrs["id"])
        if tag == "a" and "name" in attrs:
            self.ids.add(attrs["name"])
        classes = set((attrs.get("class") or "").split())
        if tag == "div" and (self._doc_depth or classes & NOT_OURS):
            self._doc_depth += 1
        if tag == "pre" and not self._doc_depth:
            self._pre = []
        if tag == "strong" and "math-error" in classes:
            self._formula = True
        if tag == "img":
            self.images.append((attrs.get("src") or "", attrs.get("alt")))
        if tag == "a" and attrs.get("href") and not self._doc_depth:
            self.links.append(attrs["href"])
        if LOADS.get(tag) and (attrs.get(LOADS[tag]) or "").startswith(REMOTE):
            self.loads.append(attrs[LOADS[tag]])

    def handle_endtag(self, tag):
        if tag == "div" and self._doc_depth:
            self._doc_depth -= 1
        if tag == "pre" and self._pre is not None:
            self.code.append("".join(self._pre).strip("\n"))
            self._pre = None

    def handle_data(self, data):
        if self._pre is not None:
            self._pre.append(data)
        if self._formula:
            self.formulas.append(data)
            self._formula = False


def parse_html(text):
    """Parse HTML text into its code, images, links and anchors."""
    html = Html()
    html.feed(text)
    html.close()
    return html


def renderer(project):
    """The Markdown converter of mkdocs.yml, plugins and colours aside.

    Colouring code takes half of the time and changes no word: Python is
    rendered as plain text.
    """
    configs = dict(project.extension_configs)
    plain = [{"name": "python", "lang": "text"}]
    configs[HIGHLIGHT] = {
        **configs.get(HIGHLIGHT, {}),
        "extend_pygments_lang": plain,
    }
    return markdown.Markdown(
        extensions=list(dict.fromkeys([*project.extensions, HIGHLIGHT])),
        extension_configs=configs,
    )


def render(page, converter, is_sound):
    """The page's HTML; of a page that isn't sound, without its includes."""
    body = re.sub(r"\A---\n.*?\n---\n", "", page.text, flags=re.S)
    if not is_sound:
        body = without_includes(body)
    converter.reset()
    return converter.convert(body)


def without_includes(text):
    """Markdown without its includes, which may be what can't be rendered."""
    return "\n".join(
        line
        for line in text.split("\n")
        if not INCLUDE.match(line) and not MARK.match(line)
    )


def is_right(project, page, text):
    """Whether HTML surely has no mistake, seen without parsing all of it."""
    told = ("math-error", 'src="http', 'src="//')
    if any(sign in text for sign in told):
        return False
    expected = [
        read_snippet(project, project.snippets / include.file)
        .sections[include.section]
        .text
        for include in page.includes()
    ]
    return code_of(text) == expected


def code_of(text):
    """The code in HTML as `parse_html` finds it, by the tags that matter."""
    code, start, depth = [], None, 0
    for tag in TAG.finditer(text):
        if tag["name"] == "pre" and not depth:
            if not tag["end"]:
                start = tag.end()
            elif start is not None:
                bare = re.sub(r"<.*?>", "", text[start : tag.start()])
                code.append(unescape(bare).strip("\n"))
                start = None
        elif tag["name"] == "div" and tag["end"]:
            depth = max(depth - 1, 0)
        elif tag["name"] == "div" and (depth or DOC.search(tag["attributes"])):
            depth += 1
    return code


def _expected(project, page):
    """The code that a page must show, with the lines of its includes."""
    return [
        (
            include.line,
            project.include(include.file, include.section).strip("\n"),
        )
        for include in page.includes()
    ]


def code_mistakes(project, page, html):
    """Code in the HTML that is not a block's text, in the blocks' order."""
    expected = _expected(project, page)
    mistakes, missing = [], []
    for shown in html.code:
        place = next((n for n, e in enumerate(expected) if shown == e[1]), -1)
        if place >= 0:
            missing += expected[:place]
            expected = expected[place + 1 :]
            continue
        text = next((s.strip() for s in shown.split("\n") if s.strip()), "")
        mistakes.append(
            Mistake(
                page.name,
                line_of(page, text),
                f"code that no snippet backs: {text!r}; put it into a "
                f"section under {project.snippets.name}/ and include that",
            )
        )
    # Code that is none in the HTML may be what was just told.
    return mistakes or [
        Mistake(
            page.name,
            line,
            "this block doesn't reach the page as code; mend its "
            "indentation or the blank lines around it",
        )
        for line, _ in missing + expected
    ]


def line_of(page, text):
    """The first line of the page that has the text."""
    for number, line in enumerate(page.text.split("\n"), 1):
        if text in line:
            return number
    return 1


def formula_mistakes(page, html):
    """Formulas that can't be shown."""
    mistakes = []
    for told in html.formulas:
        formula = told.partition("`")[2].partition("`")[0]
        line = line_of(page, formula[:16])
        mistakes.append(Mistake(page.name, line, f"{told}; mend it"))
    return mistakes


def host_mistakes(page, html):
    """Things that would be loaded from another host."""
    return [
        Mistake(
            page.name,
            line_of(page, url),
            f"{url} loads from another host; keep a copy in the project",
        )
        for url in html.loads
    ]


def image_mistakes(project, page, html, used):
    """Images without words, or that aren't there; fills `used`."""
    mistakes = []
    folder = (project.root / page.name).parent
    shown = {src: alt for src, alt in html.images}
    for src, alt in html.images:
        if src.startswith((*REMOTE, "data:")):
            continue  # the first are told by host_mistakes
        line = line_of(page, src)
        target = (folder / unquote(urlsplit(src).path)).resolve()
        used.add(target)
        if not (alt or "").strip():
            text = f"{src} has no alt text; say what the picture shows"
            mistakes.append(Mistake(page.name, line, text))
        if not target.is_file():
            text = f"there is no {src}" + _how_to_record(project, page, target)
            mistakes.append(Mistake(page.name, line, text))
        elif not target.is_relative_to(project.docs):
            text = f"{src} is outside {project.docs.name}/; move it there"
            mistakes.append(Mistake(page.name, line, text))
        mistakes += _pair_mistakes(page, src, line, shown)
    return mistakes


def _how_to_record(project, page, target):
    own = (project.root / page.name).with_suffix("")
    if target.parent != own:
        return "; mend the path"
    return f"; {RECORD} {page.name}"


def _pair_mistakes(page, src, line, shown):
    """Each figure is shown light and dark, with the same words."""
    file, _, variant = src.partition("#")
    match = FIGURE.match(file)
    if not match or variant not in ("only-light", "only-dark"):
        if match and (Path(file).stem.endswith("-dark")):
            text = f"{src} needs #only-dark"
            return [Mistake(page.name, line, text)]
        return []
    if (variant == "only-dark") != bool(match["dark"]):
        text = f"{src}: name-dark.svg goes with #only-dark, and only that"
        return [Mistake(page.name, line, text)]
    other = (
        f"{match['stem']}.svg#only-light"
        if match["dark"]
        else f"{match['stem']}-dark.svg#only-dark"
    )
    if other not in shown:
        return [Mistake(page.name, line, f"{src} needs {other} beside it")]
    if shown[other] != shown[src]:
        text = f"{src} and {other} need the same alt text"
        return [Mistake(page.name, line, text)]
    return []


def link_mistakes(project, page, html, anchors):
    """Links to files and anchors that aren't there."""
    mistakes = []
    folder = (project.root / page.name).parent
    for href in html.links:
        url = urlsplit(href)
        if url.scheme or url.netloc:
            continue
        line = line_of(page, href)
        if href.startswith("/"):
            text = f"{href} is dead where the site isn't the whole host; "
            text += "write the way from this page to the file"
            mistakes.append(Mistake(page.name, line, text))
            continue
        target = (folder / unquote(url.path)).resolve()
        if not url.path:
            target = project.root / page.name
        elif not target.is_file():
            text = f"dead link: there is no {url.path}; mend it"
            mistakes.append(Mistake(page.name, line, text))
            continue
        there = anchors.get(target)
        # Docstrings bring anchors with dots, which only the site has.
        known = there is None or url.fragment in there or "." in url.fragment
        if url.fragment and not known:
            text = f"dead anchor: {href} has no #{url.fragment}; mend it"
            mistakes.append(Mistake(page.name, line, text))
    return mistakes
