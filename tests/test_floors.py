"""The order of the rooms: imports run downwards alone (docs/architecture.md draws it)."""

import ast
from collections.abc import Callable, Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FLOORS = (
    ("errors", "version"),
    ("utils",),
    ("runs",),
    ("datamodules",),
    ("modules",),
    ("artefact",),
    ("evaluation",),
    ("callbacks",),
    ("cli", "api"),
    ("studies", "__main__"),
)
FLOORS_OF_MODULES = (
    ("augmentations", "unroll"),
    ("networks",),
    ("memories",),
    ("distillation",),
    ("matching", "continual"),
)
MOST_LINES = 300

Arrow = tuple[str, str]


def files(root: Path) -> dict[str, Path]:
    """Every file of the package by its dotted name."""
    paths = (root / "rtp").rglob("*.py")
    return {".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__"): path for path in paths}


def arrows(root: Path) -> Iterator[Arrow]:
    """Imports among the package's files, those inside functions and for the type checker too."""
    known = files(root)
    for name, path in known.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            targets: list[str] = []
            if isinstance(node, ast.ImportFrom) and node.module:
                inner = [f"{node.module}.{alias.name}" for alias in node.names]
                targets = [target if target in known else node.module for target in inner]
            elif isinstance(node, ast.Import):
                targets = [alias.name for alias in node.names]
            yield from ((name, target) for target in targets if target in known and target != name)


def rooms(pairs: list[Arrow], room: Callable[[str], str]) -> set[Arrow]:
    """The arrows between rooms."""
    return {(room(a), room(b)) for a, b in pairs} - {(room(a), room(a)) for a, _ in pairs}


def in_order(pairs: list[Arrow]) -> list[str]:
    """Sort from bottom to top.

    Raises:
        CycleError: If there is a circle.
    """
    graph = TopologicalSorter[str]()
    for importer, imported in pairs:
        graph.add(importer, imported)
    return list(graph.static_order())


def upward(pairs: list[Arrow], prefix: str, floors: tuple[tuple[str, ...], ...]) -> list[Arrow]:
    """The arrows between the rooms of a package that do not run down."""
    height = {room: floor for floor, names in enumerate(floors) for room in names}
    depth = prefix.count(".") + 1
    inside = [pair for pair in pairs if all(name.startswith(f"{prefix}.") for name in pair)]
    return [
        (a, b) for a, b in inside if (x := a.split(".")[depth]) != (y := b.split(".")[depth]) and height[y] >= height[x]
    ]


def test_imports_run_down() -> None:
    pairs = list(arrows(ROOT))
    assert len(pairs) > 300
    assert upward(pairs, "rtp", FLOORS) == []
    assert upward(pairs, "rtp.modules", FLOORS_OF_MODULES) == []


def test_no_files_import_each_other_in_a_circle() -> None:
    assert in_order(list(arrows(ROOT)))


@pytest.mark.parametrize("depth", [2, 3, 4])
def test_no_folders_import_each_other(depth: int) -> None:
    folders = {name for name, path in files(ROOT).items() if path.name == "__init__.py"}

    def folder(name: str) -> str:
        parts = name.split(".")
        return max(
            (".".join(parts[:size]) for size in range(1, depth + 1)), key=lambda room: (room in folders, len(room))
        )

    pairs = rooms(list(arrows(ROOT)), folder)
    # a package's public names stand for its rooms, so an arrow between a folder and one inside it says nothing
    assert {(a, b) for a, b in pairs if (b, a) in pairs and not (a.startswith(b) or b.startswith(a))} == set()


def test_rooms_are_few_and_files_short() -> None:
    known = files(ROOT)
    assert [name for name, path in known.items() if path.read_text(encoding="utf-8").count("\n") > MOST_LINES] == []
    for package in (path.parent for path in known.values() if path.name == "__init__.py"):
        entries = [entry for entry in package.iterdir() if entry.suffix == ".py" or (entry / "__init__.py").exists()]
        assert len(entries) <= 14, package


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A small package whose lowest floor imports the highest."""
    for name, text in {"errors.py": "from rtp.cli.app import main", "cli/app.py": "import rtp.errors"}.items():
        path = tmp_path / "rtp" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def test_what_is_wrong_is_found(house: Path) -> None:
    pairs = list(arrows(house))
    assert upward(pairs, "rtp", FLOORS) == [("rtp.errors", "rtp.cli.app")]
    with pytest.raises(CycleError):
        in_order(pairs)
