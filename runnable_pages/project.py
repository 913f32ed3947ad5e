"""Where a project's pages and snippets stand, and how a mistake is told."""

import re
import tomllib
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import markdown
import yaml
from mkdocs.utils.yaml import get_yaml_loader
from pymdownx.snippets import SnippetExtension, SnippetMissingError

SNIPPETS = "pymdownx.snippets"
HIGHLIGHT = "pymdownx.highlight"
# Code without colours.
PLAIN = {"extend_pygments_lang": [{"name": "python", "lang": "text"}]}
# The parsers in C are ten times as fast, where PyYAML was built with them.
SAFE_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
CONFIG_LOADER = get_yaml_loader(getattr(yaml, "CLoader", yaml.Loader))
BUILT_IN = ("toc", "tables", "fenced_code")  # MkDocs turns them on itself
NEEDED = {
    "check_paths": True,
    "dedent_subsections": True,
    "restrict_base_path": True,
}


@dataclass(frozen=True, order=True)
class Mistake:
    """Something an author has to mend: where it is, what it is, and how."""

    path: str
    line: int
    text: str

    def __str__(self):
        return f"{self.path}:{self.line}: {self.text}"


class Unreadable(Exception):
    """A file that can't be read as text, or not as what it should be."""

    def __init__(self, mistake):
        super().__init__(str(mistake))
        self.mistake = mistake


@dataclass(eq=False)  # each is its own, and may be a key of a cache
class Project:
    """A folder with a mkdocs.yml; everything else is found from there."""

    root: Path
    docs: Path
    snippets: Path
    config: dict
    extensions: list
    extension_configs: dict
    mistakes: list = field(default_factory=list)
    settings: dict = field(default_factory=dict)
    packages: set = field(default_factory=set)

    @classmethod
    def load(cls, root):
        """Read mkdocs.yml. Raises Unreadable when that isn't possible."""
        root = Path(root).resolve()
        config = _read_config(root / "mkdocs.yml")
        extensions, configs = _extensions(config)
        options = {"base_path": ["."], **configs.get(SNIPPETS, {})}
        base = options["base_path"]
        base = base if isinstance(base, str) else base[0]
        mistakes = [] if SNIPPETS in extensions else [_not_on()]
        mistakes += _missing_options(options)
        # Options name folders relative to mkdocs.yml, wherever we are called.
        configs[SNIPPETS] = {**options, "base_path": [str(root / base)]}
        docs = root / config.get("docs_dir", "docs")
        return cls(
            root,
            docs,
            root / base,
            config,
            extensions,
            configs,
            mistakes,
            *_pyproject(root / "pyproject.toml"),
        )

    def name(self, path):
        """The path as people write it: from the project's root."""
        return Path(path).relative_to(self.root).as_posix()

    def pages(self):
        """Every Markdown file under docs/ that MkDocs reads, sorted."""
        return [
            path
            for path in sorted(self.docs.rglob("*.md"))
            if not _is_hidden(path.relative_to(self.docs))
        ]

    def snippet_files(self):
        """Every file under snippets/ that could be shown, sorted."""
        return sorted(
            path
            for path in self.snippets.rglob("*")
            if path.is_file()
            and not _is_hidden(path.relative_to(self.snippets))
            and path.name != "__init__.py"
            and not path.name.endswith(".results.json")
            and "__pycache__" not in path.parts
        )

    def include(self, file, section):
        """The text that a page shows for `file:section`, from pymdownx itself.

        Raises its SnippetMissingError when file or section isn't there.
        """
        lines = self._preprocessor.run([f'--8<-- "{file}:{section}"'])
        return "\n".join(lines).strip("\n") + "\n"

    def has(self, file, section):
        """Whether there is such a section."""
        try:
            return bool(self.include(file, section))
        except SnippetMissingError:
            return False

    def render(self, text):
        """The HTML of Markdown, by the extensions of mkdocs.yml.

        Not coloured: that takes half of the time and changes no word.
        """
        self._markdown.reset()
        return self._markdown.convert(text)

    @cached_property
    def _markdown(self):
        configs = dict(self.extension_configs)
        plain = {**configs.get(HIGHLIGHT, {}), **PLAIN}
        return markdown.Markdown(
            extensions=list(dict.fromkeys([*self.extensions, HIGHLIGHT])),
            extension_configs={**configs, HIGHLIGHT: plain},
        )

    @cached_property
    def _preprocessor(self):
        extension = SnippetExtension(**self.extension_configs[SNIPPETS])
        md = markdown.Markdown(extensions=[extension])
        return md.preprocessors["snippet"]


def _is_hidden(path):
    """Whether it begins with a dot, as what editors leave beside a file."""
    return any(part.startswith(".") for part in path.parts)


def read_text(project, path):
    """The file's text, as MkDocs reads it: a byte-order mark is no part of it.

    Raises Unreadable when it isn't UTF-8.
    """
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        line = Path(path).read_bytes()[: error.start].count(b"\n") + 1
        raise Unreadable(
            Mistake(
                project.name(path),
                line,
                f"byte {error.object[error.start]:#04x} is not UTF-8; "
                "save the file as UTF-8",
            )
        ) from None


def _read_config(path):
    try:
        config = yaml.load(path.read_text("utf-8"), Loader=CONFIG_LOADER)
    except FileNotFoundError:
        text = "there is none; run this in the folder that holds it"
        raise Unreadable(Mistake(path.name, 1, text)) from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else 1
        text = f"not valid YAML: {getattr(error, 'problem', error)}"
        raise Unreadable(Mistake(path.name, line, text)) from None
    if not isinstance(config, dict):
        text = "holds no settings; it needs site_name at least"
        raise Unreadable(Mistake(path.name, 1, text))
    return config


def _pyproject(path):
    """What pyproject.toml tells: [tool.runnable_pages], and all packages.

    Packages are those that are installed, extras included.
    """
    if not path.is_file():
        return {}, set()
    toml = tomllib.loads(path.read_text("utf-8"))
    own = toml.get("tool", {}).get("runnable_pages", {})
    package = toml.get("project", {})
    groups = [
        package.get("dependencies", []),
        *package.get("optional-dependencies", {}).values(),
    ]
    names = {
        re.split(r"[^\w.-]", name)[0] for group in groups for name in group
    }
    return own, names


def _extensions(config):
    names, configs = list(BUILT_IN), {name: {} for name in BUILT_IN}
    for entry in config.get("markdown_extensions") or []:
        for name, options in (
            entry.items() if isinstance(entry, dict) else [(entry, None)]
        ):
            if name not in names:
                names.append(name)
            configs[name] = options or {}
    return names, configs


def _not_on():
    text = f"markdown_extensions must list {SNIPPETS}: pages need it"
    return Mistake("mkdocs.yml", 1, text)


def _missing_options(options):
    return [
        Mistake(
            "mkdocs.yml", 1, f"{SNIPPETS} needs {key}: {str(want).lower()}"
        )
        for key, want in NEEDED.items()
        if options.get(key) != want
    ]
