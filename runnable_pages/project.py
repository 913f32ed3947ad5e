"""Where a project's pages and snippets stand, and how a mistake is told."""

import re
import tomllib
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import markdown
import yaml
from mkdocs.utils.yaml import get_yaml_loader
from pymdownx.snippets import SnippetExtension

SNIPPETS = "pymdownx.snippets"
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
    preload: list = field(default_factory=list)
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
        """Every Markdown file under docs/, sorted."""
        return sorted(self.docs.rglob("*.md"))

    def snippet_files(self):
        """Every file under snippets/ that could be shown, sorted."""
        return sorted(
            path
            for path in self.snippets.rglob("*")
            if path.is_file()
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

    @cached_property
    def _preprocessor(self):
        extension = SnippetExtension(**self.extension_configs[SNIPPETS])
        md = markdown.Markdown(extensions=[extension])
        return md.preprocessors["snippet"]


def read_text(project, path):
    """The file's text. Raises Unreadable when it isn't UTF-8."""
    try:
        return Path(path).read_text(encoding="utf-8")
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
    """What pyproject.toml tells.

    The modules that most pages import, from [tool.runnable_pages], and the
    packages that are installed, extras included.
    """
    if not path.is_file():
        return [], set()
    settings = tomllib.loads(path.read_text("utf-8"))
    own = settings.get("tool", {}).get("runnable_pages", {})
    package = settings.get("project", {})
    groups = [
        package.get("dependencies", []),
        *package.get("optional-dependencies", {}).values(),
    ]
    names = {
        re.split(r"[^\w.-]", name)[0] for group in groups for name in group
    }
    return own.get("preload", []), names


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
