"""What every test shares: a cache of its own, and no files left behind in the checkout."""

from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(scope="session", autouse=True)
def _no_litter() -> Iterator[None]:
    before = set(_files())
    yield
    left = set(_files()) - before
    assert not left, f"tests left files behind: {sorted(map(str, left))}"


def _files() -> Iterator[Path]:
    caches = {"__pycache__", ".pytest_cache", ".mypy_cache", ".ruff_cache", ".hypothesis"}
    tools = {".git", ".venv", "logs", "data"} | caches
    for path in ROOT.rglob("*"):
        if not tools & set(path.relative_to(ROOT).parts) and ".coverage" not in path.name:
            yield path
