"""Pictures of TensorBoard on the runs of the lesson on monitoring.

`python -m benchmarks.monitoring` trains them anew, starts TensorBoard on
them, and takes its picture in Chromium, light and dark. Each picture says in
itself which code it shows, and a test holds it to that.
"""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from PIL import Image, PngImagePlugin

from runnable_pages.project import Project
from runnable_pages.results import digest

PROJECT = Project.load(Path(__file__).parents[1])
SNIPPET = "training/monitoring.py"
SECTIONS = ("data", "first", "update", "train", "pictures", "run", "runs")
FOLDER = PROJECT.docs / "training/monitoring"
SIZE = {"width": 1200, "height": 760}
TABS = {"timeseries": "runs/first", "hparams": "runs/digits"}  # of which runs
SETTLED = 3000  # ms for charts to be drawn


def shown_code():
    """The hashes of the sections that the pictures show, as JSON."""
    hashes = {name: digest(PROJECT, SNIPPET, name) for name in SECTIONS}
    return json.dumps(hashes)


def train_runs(folder):
    """Run the lesson's sections "first" and "runs" in the folder."""
    imports = "from snippets.training.monitoring import *"
    parts = [PROJECT.include(SNIPPET, name) for name in ("first", "runs")]
    code = "\n".join([imports, *parts])
    paths = os.pathsep.join([str(PROJECT.root), *sys.path])
    subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": paths, "MPLBACKEND": "agg"},
        check=True,
    )


@contextlib.contextmanager
def tensorboard(log_dir, n_runs, *options):
    """The address of TensorBoard on a folder, once it read so many runs."""
    log_dir = Path(log_dir)
    command = [sys.executable, "-m", "tensorboard.main", "--port=0"]
    server = subprocess.Popen(
        [*command, f"--logdir={log_dir.name}", *options],
        cwd=log_dir.parent,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        told = next((line for line in server.stderr if "http://" in line), "")
        if not told:
            raise RuntimeError("TensorBoard ended before it served")
        address = "http://" + told.partition("http://")[2].split()[0]
        deadline = time.monotonic() + 60
        while len(ask(address, "tags")) < n_runs:
            if time.monotonic() > deadline:
                raise TimeoutError(f"TensorBoard saw no {n_runs} runs in 60 s")
            time.sleep(0.1)
        yield address
    finally:
        server.terminate()
        server.communicate()


def ask(address, question):
    """What TensorBoard answers to its own page about scalars."""
    url = f"{address}data/plugin/scalars/{question}"
    with urllib.request.urlopen(url) as answer:
        return json.load(answer)


def picture(browser, address, tab, scheme):
    """Save one tab of TensorBoard as a PNG of few colours."""
    page = browser.new_page(viewport=SIZE)
    page.goto(f"{address}?darkMode={str(scheme == 'dark').lower()}#{tab}")
    page.wait_for_timeout(SETTLED)
    name = tab if scheme == "light" else f"{tab}-dark"
    path = FOLDER / f"{name}.png"
    page.screenshot(path=path)
    page.close()
    note = PngImagePlugin.PngInfo()
    note.add_text("code", shown_code())
    with Image.open(path) as image:
        small = image.convert("P", palette=Image.Palette.ADAPTIVE)
    small.save(path, optimize=True, pnginfo=note)
    print(f"wrote {path}, {path.stat().st_size / 1000:.0f} kB")


def main():
    """Take all pictures."""
    from playwright.sync_api import sync_playwright

    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as tools:
        train_runs(folder)
        browser = tools.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        for tab, log_dir in TABS.items():
            runs = list(Path(folder, log_dir).iterdir())
            with tensorboard(f"{folder}/{log_dir}", len(runs)) as address:
                for scheme in ("light", "dark"):
                    picture(browser, address, tab, scheme)
        browser.close()


if __name__ == "__main__":
    main()
