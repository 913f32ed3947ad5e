"""What readers meet in a browser: light and dark, on a desk and a phone."""

import contextlib
import functools
import http.server
import threading

import pytest

from tests.site.conftest import CHROMIUM, html_of, page_names

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="Chromium is not installed: apt-get install"
)
PAGES = page_names()
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
# Colours depend on the scheme, and the layout on the width: two views of a
# page show both of each.
VIEWS = {"light": 1300, "dark": 390}


class Quiet(http.server.SimpleHTTPRequestHandler):
    """A file server that doesn't write a line a request."""

    def log_message(self, *args):
        """Say nothing."""


@pytest.fixture(scope="module")
def address(built):
    """The built site, served on this machine."""
    handler = functools.partial(Quiet, directory=str(built))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def browser():
    """One Chromium for all pages."""
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as tools:
        browser = tools.chromium.launch(
            executable_path=CHROMIUM, args=ARGUMENTS
        )
        yield browser
        browser.close()


# Indexing all of the site for each page would take most of the time.
NO_SEARCH = {
    "config": {"lang": ["en"], "separator": " ", "fields": {}},
    "docs": [],
}


@contextlib.contextmanager
def new_tab(browser, address):
    """A tab that notes errors and what it asks of other hosts."""
    context = browser.new_context()
    tab = context.new_page()
    tab.route("**/search_index.json", lambda go: go.fulfill(json=NO_SEARCH))
    tab.noted = []
    tab.looks = {scheme: [] for scheme in VIEWS}

    def note(answer):
        if answer.status >= 400:
            tab.noted.append(f"{answer.status}: {answer.url}")

    def note_other_hosts(request):
        if not request.url.startswith((address, "data:", "blob:")):
            tab.noted.append(f"asks {request.url}")

    tab.on("pageerror", lambda error: tab.noted.append(f"error: {error}"))
    tab.on("request", note_other_hosts)
    tab.on("response", note)
    yield tab
    context.close()


@pytest.fixture(scope="module")
def tab(browser, address):
    """One tab for all pages."""
    with new_tab(browser, address) as tab:
        yield tab


UNFOLD = """() => document.querySelectorAll("details")
  .forEach(details => details.open = true)"""


def open_page(tab, address, built, name):
    """Open a page with all it folds away, and wait for its fonts."""
    tab.noted.clear()
    path = html_of(name, built).relative_to(built).parent.as_posix()
    tab.goto(address + ("" if path == "." else path + "/"))
    tab.evaluate(UNFOLD)
    tab.evaluate("() => document.fonts.ready.then(() => null)")


# Elements that reach out of the page, unless they scroll in their own box.
OVERFLOW = """() => {
  const wide = document.documentElement.clientWidth;
  const found = [];
  if (document.documentElement.scrollWidth > wide)
    found.push("the page itself: " + document.documentElement.scrollWidth);
  for (const e of document.querySelectorAll(".md-content *")) {
    const box = e.getBoundingClientRect();
    if (box.width === 0 || box.right <= wide + 1) continue;
    let boxed = false;
    for (let p = e; p && p !== document.body; p = p.parentElement) {
      const s = getComputedStyle(p);
      if (/auto|scroll|hidden/.test(s.overflowX)) { boxed = true; break; }
    }
    if (!boxed) found.push(e.tagName + "." + e.className);
  }
  return found.slice(0, 5);
}"""
# Formulas that don't fit, of those that stand on lines of their own.
CUT_FORMULAS = """() => [...document.querySelectorAll("div.arithmatex")]
  .filter(box => box.scrollWidth > box.clientWidth + 1)
  .map(box => box.textContent.slice(0, 60))"""
PICTURES = """() => [...document.querySelectorAll(".md-content img")]
  .filter(i => getComputedStyle(i).display !== "none")
  .map(i => { i.loading = "eager"; return i; })
  .map(i => i.getAttribute("src"))"""


# Contrast depends on how a text looks and on what lies under it. Judging all
# texts of all pages would take minutes, so that one of each look is marked,
# of those that no page before had. Of a single character axe can't judge.
MARK_NEW_LOOKS = """known => {
  const seen = new Set(known);
  const clear = new Set(["rgba(0, 0, 0, 0)", "none", "1"]);
  const look = element => {
    const s = getComputedStyle(element);
    const under = [];
    for (let e = element; e; e = e.parentElement) {
      const b = getComputedStyle(e);
      under.push(b.backgroundColor, b.backgroundImage, b.opacity);
    }
    return [s.color, s.fontSize, s.fontWeight, s.textShadow,
      ...under.filter(value => !clear.has(value))].join();
  };
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const element = texts.currentNode.parentElement;
    if (texts.currentNode.data.trim().length < 2) continue;
    if (!element.checkVisibility() || seen.has(look(element))) continue;
    seen.add(look(element));
    element.setAttribute("data-look", "");
  }
  return [...seen];
}"""
# Tokens and formulas that aren't marked would only slow axe down.
DROP_UNMARKED = """() => {
  const parts = ".highlight code span[class], math";
  for (const part of document.querySelectorAll(parts))
    if (!part.matches("[data-look]") && !part.querySelector("[data-look]"))
      part.remove();
}"""


def show(tab, scheme):
    """Switch the reader's system to light or dark, and the width with it."""
    palette = {"light": "default", "dark": "slate"}[scheme]
    tab.set_viewport_size({"width": VIEWS[scheme], "height": 844})
    tab.emulate_media(color_scheme=scheme)
    # Asked frame by frame: a page that draws none may not hear of the switch.
    tab.wait_for_function(
        "palette => document.body.dataset.mdColorScheme === palette",
        arg=palette,
    )


# What passed needn't be told, and no style sheet of others is to be fetched.
QUICK = {"resultTypes": ["violations"], "preload": False}
CONTRAST = "color-contrast"


def violations(tab):
    """What axe finds: names, roles, order; of marked texts the contrast."""
    from axe_playwright_python.sync_playwright import Axe

    without = {"rules": {CONTRAST: {"enabled": False}}}
    found = Axe().run(tab, options=QUICK | without).response["violations"]
    if tab.locator("[data-look]").count():
        marked = {"include": [["[data-look]"]]}
        alone = {"runOnly": [CONTRAST]}
        told = Axe().run(tab, context=marked, options=QUICK | alone)
        found += told.response["violations"]
    return [
        f"{v['id']}: {v['help']}: {n['html'][:120]}"
        for v in found
        for n in v["nodes"][:3]
    ]


@pytest.mark.parametrize("name", PAGES)
def test_a_page_reads_well(tab, address, built, name):
    """Nothing overflows, is missing, hard to reach, or from another host.

    Each figure is shown once, in the colours of the reader's system.
    """
    open_page(tab, address, built, name)
    recorded = html_of(name, built).read_text("utf-8").count("#only-light")
    for scheme in VIEWS:
        show(tab, scheme)
        assert tab.evaluate(OVERFLOW) == []
        assert tab.evaluate(CUT_FORMULAS) == []
        shown = [src for src in tab.evaluate(PICTURES) if "#only-" in src]
        assert len(shown) == recorded
        assert all(src.endswith(f"#only-{scheme}") for src in shown)
        tab.looks[scheme] = tab.evaluate(MARK_NEW_LOOKS, tab.looks[scheme])
    tab.evaluate(DROP_UNMARKED)
    for scheme in reversed(VIEWS):
        show(tab, scheme)
        assert violations(tab) == [], f"{scheme}, {VIEWS[scheme]} pixels wide"
    tab.wait_for_load_state("networkidle")
    assert tab.noted == []


def test_the_copy_button_copies_the_code(browser, address, built):
    """What it puts on the clipboard is the block's text, and no more."""
    from tests.site.conftest import code_blocks

    name = "fundamentals/gradient-descent.md"
    context = browser.new_context(
        permissions=["clipboard-read", "clipboard-write"]
    )
    tab = context.new_page()
    tab.goto(address + "fundamentals/gradient-descent/")
    tab.locator(".language-python button").first.click(force=True)
    tab.wait_for_timeout(300)
    copied = tab.evaluate("() => navigator.clipboard.readText()")
    _, first = code_blocks(html_of(name, built))[0]
    assert copied.strip("\n") == first.strip("\n")
    context.close()


def test_search_finds_a_lesson_without_a_mouse(browser, address):
    """`s` opens the search, typing finds, arrows and Enter arrive."""
    context = browser.new_context()
    tab = context.new_page()
    tab.goto(address)
    tab.wait_for_load_state("networkidle")
    tab.keyboard.press("s")
    tab.keyboard.type("learning rate", delay=20)
    tab.wait_for_selector(".md-search-result__link")
    tab.wait_for_timeout(300)
    tab.keyboard.press("ArrowDown")
    tab.keyboard.press("Enter")
    tab.wait_for_url(lambda url: url != address and "#" not in url[-1:])
    assert tab.url.startswith(address)
    assert tab.locator("h1").count() == 1
    context.close()
