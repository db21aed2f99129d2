"""Hooks of `make docs`: pages from the repository's root, and API entries for every public name."""

import ast
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
FROM_ROOT = {"README.md": "index.md", "RESULTS.md": "RESULTS.md", "CHANGELOG.md": "CHANGELOG.md"}
"""Pages outside docs/, with their places in the site."""

PUBLIC = re.compile(r"^<!-- public: (rtp\.\w+\.\w+) -->$", re.MULTILINE)
"""In a page of docs/api: the public names of a package that come from one of its rooms."""

_documented: set[str] = set()


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages from the root."""
    for source, place in FROM_ROOT.items():
        text = (ROOT / source).read_text(encoding="utf-8").replace("](docs/", "](")
        # not pages: a reader of the site has no use for them
        text = re.sub(r"\[([^]]+)\]\((?:CITATION\.cff|LICENSE|configs/[^)]*)\)", r"`\1`", text)
        files.append(File.generated(config, place, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead links to the root's pages to their places, and expand public names."""
    for source, place in FROM_ROOT.items():
        markdown = re.sub(rf"\]\(\.\./((?:\.\./)*){re.escape(source)}", rf"](\1{place}", markdown)
    return PUBLIC.sub(lambda match: "\n\n".join(f"::: {name}" for name in _document(match[1])), markdown)


def on_post_build(config: MkDocsConfig) -> None:
    """Refuse a public name without an entry."""
    names = {
        f"{package}.{name}" for package in ("rtp.modules", "rtp.datamodules") for name, _ in _public_names(package)
    }
    if missing := names - _documented:
        raise PluginError(f"docs/api has no entry for {', '.join(sorted(missing))}: add a page with its room")


def _document(room: str) -> list[str]:
    """The public names that come from a room; an unknown room is refused."""
    package, _, folder = room.rpartition(".")
    names = [f"{package}.{name}" for name, origin in _public_names(package) if origin == folder]
    if not names:
        raise PluginError(f"{room} has no public names: see {package.replace('.', '/')}/__init__.pyi")
    _documented.update(names)
    return names


def _public_names(package: str) -> list[tuple[str, str]]:
    """The names that a package's stub lists, each with the room it comes from."""
    stub = ROOT.joinpath(*package.split("."), "__init__.pyi").read_text(encoding="utf-8")
    imports = [node for node in ast.parse(stub).body if isinstance(node, ast.ImportFrom)]
    return [(alias.name, (node.module or "").split(".")[0]) for node in imports for alias in node.names]
