"""Write a page's outputs and figures from its run."""

import re
from pathlib import Path

from runnable_pages.figures import darken
from runnable_pages.sections import read_snippet


def figure_files(project, page, block, number=1):
    """Where the block's figure is recorded: its light and its dark path."""
    folder = (project.root / page.name).with_suffix("")
    name = block.name.replace(":", "-")
    suffix = "" if number == 1 else f"-{number}"
    return (
        folder / f"{name}{suffix}.svg",
        folder / f"{name}{suffix}-dark.svg",
    )


class Recorder:
    """Collects what the blocks of one page did, and writes it."""

    def __init__(self, project, page):
        self.project = project
        self.page = page
        self.outputs = {}  # file -> {section: text}
        self.figures = {}  # path -> svg
        self.stale = []

    def figure_files(self, block):
        """The recorded figures of a block: pairs of light and dark paths."""
        pairs, number = [], 1
        while True:
            pair = figure_files(self.project, self.page, block, number)
            if not any(path.is_file() for path in pair):
                return pairs
            pairs.append(pair)
            number += 1

    def take(self, block, output, figures):
        """Keep a block's output and figures (SVG texts) for writing."""
        file = str(Path(block.include.file).with_suffix(".out"))
        sections = self.outputs.setdefault(file, {})
        sections[block.include.section] = output
        for pair in self.figure_files(block)[len(figures) :]:
            self.stale += pair
        for number, svg in enumerate(figures, 1):
            pair = figure_files(self.project, self.page, block, number)
            self.figures[pair[0]] = svg
            self.figures[pair[1]] = darken(svg, self.project.root)

    def write(self):
        """Write what changed; returns a line for each file that did."""
        told = []
        for file, sections in self.outputs.items():
            told += self._write(*self._outputs(file, sections))
        for path, svg in self.figures.items():
            told += self._write(path, svg)
        for path in self.stale:
            path.unlink(missing_ok=True)
            told.append(f"deleted {self.project.name(path)}")
        return told

    def _outputs(self, file, new):
        """The .out file's new text: its old sections with the new ones."""
        path = self.project.snippets / file
        code = path.with_suffix(".py")
        code = code if code.is_file() else path.with_suffix(".sh")
        sections = {**self._recorded(path), **new}
        text = ""
        # In the order of the code, and nothing that it no longer has.
        for name in read_snippet(self.project, code).sections:
            if sections.get(name, "").strip():
                body = re.sub(r"[ \t]+\n", "\n", sections[name].rstrip())
                text += f"--8<-- [start:{name}]\n{body}\n--8<-- [end:{name}]\n"
        return path, text

    def _recorded(self, path):
        if not path.is_file():
            return {}
        lines = path.read_text("utf-8").split("\n")
        return {
            name: "\n".join(lines[section.first - 1 : section.last])
            for name, section in read_snippet(
                self.project, path
            ).sections.items()
        }

    def _write(self, path, text):
        old = path.read_text("utf-8") if path.is_file() else None
        if old == text or (old is None and not text):
            return []
        if not text:
            path.unlink()
            return [f"deleted {self.project.name(path)}"]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
        verb = "made" if old is None else "changed"
        return [f"{verb} {self.project.name(path)}"]
