"""rtp's own classes with their bases and docstrings, read from the source: importing them would take seconds."""

import ast
import re
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[3]
"""The folder that holds the package `rtp`."""
PACKAGES = ("datamodules", "modules", "callbacks")
"""Those whose public classes a configuration can name."""


@dataclass(frozen=True)
class OwnClass:
    """A class in rtp's source.

    Attributes:
        package: The one of `PACKAGES` that exports it.
        name: Its name.
        summary: The first line of its docstring.
        bases: Names of all its bases, the nearest first; of other packages as written, such as "L.Callback".
        abstract: Names of its abstract methods that nothing implements.
    """

    package: str
    name: str
    summary: str
    bases: tuple[str, ...]
    abstract: frozenset[str]


@cache
def public_classes() -> tuple[OwnClass, ...]:
    """The classes that `PACKAGES` export, by package and name."""
    classes = []
    for package in PACKAGES:
        folder = ROOT / "rtp" / package
        stub = folder / "__init__.pyi"
        exports = _imports(stub if stub.is_file() else folder / "__init__.py")
        found = [_class(path, name) for name, path in exports.items()]
        classes += [replace(own, package=package) for own in found if own is not None]
    return tuple(sorted(classes, key=lambda own: own.name.lower()))


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def _imports(path: Path) -> dict[str, Path]:
    """The files of rtp that a file's top level imports names from, by name."""
    found: dict[str, Path] = {}
    for node in _tree(path).body:
        if isinstance(node, ast.ImportFrom) and (node.level or (node.module or "").startswith("rtp.")):
            folder = path.parent if node.level else ROOT
            module = folder / (node.module or "").replace(".", "/")
            file = module / "__init__.py" if module.is_dir() else module.with_suffix(".py")
            found |= {alias.asname or alias.name: file for alias in node.names}
    return found


def _class(path: Path, name: str) -> OwnClass | None:
    """A class by the name that a file defines or imports; None for anything else."""
    for node in _tree(path).body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            return _described(path, node)
    imported = _imports(path).get(name)
    return None if imported is None else _class(imported, name)


def _described(path: Path, node: ast.ClassDef) -> OwnClass:
    bases: list[str] = []
    abstract: set[str] = set()
    for base in node.bases:
        written = ast.unparse(base.value if isinstance(base, ast.Subscript) else base)
        inherited = _class(path, written)
        bases += [written, *(inherited.bases if inherited else ())]
        abstract |= inherited.abstract if inherited else set()
    for statement in node.body:
        if isinstance(statement, ast.FunctionDef):
            is_abstract = any(ast.unparse(decorator) == "abstractmethod" for decorator in statement.decorator_list)
            (abstract.add if is_abstract else abstract.discard)(statement.name)
        elif isinstance(statement, ast.Assign | ast.AnnAssign):
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            if statement.value is not None:
                abstract -= {ast.unparse(target) for target in targets}
    summary = (ast.get_docstring(node) or "").partition("\n")[0]
    return OwnClass("", node.name, summary, tuple(bases), frozenset(abstract))


def described(path: Path, name: str) -> dict[str, tuple[str, str]]:
    """The arguments of a class's constructor: their defaults as written, or "", and what the docstring says of them.

    Args:
        path: The file that defines the class.
        name: Its name; a class with an `__init__`, or a dataclass.
    """
    node = next(node for node in _tree(path).body if isinstance(node, ast.ClassDef) and node.name == name)
    constructors = [part for part in node.body if isinstance(part, ast.FunctionDef) and part.name == "__init__"]
    defaults: dict[str, str] = {}
    for constructor in constructors:
        arguments = constructor.args.args[1:]
        values = [None] * (len(arguments) - len(constructor.args.defaults)) + [*constructor.args.defaults]
        defaults = {a.arg: "" if v is None else ast.unparse(v) for a, v in zip(arguments, values, strict=True)}
    if not constructors:
        fields = [part for part in node.body if isinstance(part, ast.AnnAssign)]
        defaults = {ast.unparse(f.target): "" if f.value is None else ast.unparse(f.value) for f in fields}
    section = (ast.get_docstring(node) or "").partition("Args:\n")[2].partition("\n\n")[0]
    entries = re.split(r"^    (?=\w+: )", section, flags=re.MULTILINE)[1:]
    texts = {key: " ".join(text.split()) for key, _, text in (entry.partition(": ") for entry in entries)}
    return {argument: (default, texts.get(argument, "")) for argument, default in defaults.items()}
