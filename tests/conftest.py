"""What every test shares: a process as it was before, a cache of its own, and no files left behind in the checkout."""

import logging
import os
import resource
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from unittest import mock

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def _own_process(tmp_path: Path) -> Iterator[None]:
    # what `entry_point` sets for a whole program would last into other tests: a log into a closed stream, among others
    path, package = list(sys.path), logging.getLogger("rtp")
    with mock.patch.dict(os.environ, XDG_CACHE_HOME=str(tmp_path / "cache")):
        yield
    sys.path[:] = path
    package.handlers.clear()
    package.propagate = True
    package.setLevel(logging.NOTSET)


@pytest.fixture
def full_disk() -> Callable[[int], AbstractContextManager[None]]:
    """A disk as good as full: within the context no file can grow beyond so many bytes."""

    @contextmanager
    def full(most: int) -> Iterator[None]:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, hard))  # Python ignores the signal: writing raises OSError
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    return full


@pytest.fixture(scope="session", autouse=True)
def _no_litter() -> Iterator[None]:
    before = set(_files())
    yield
    left = set(_files()) - before
    assert not left, f"tests left files behind: {sorted(map(str, left))}"


def _files() -> Iterator[Path]:
    caches = {"__pycache__", ".pytest_cache", ".mypy_cache", ".ruff_cache", ".hypothesis"}
    tools = {".git", ".venv", "data", "logs", "site"} | caches
    for path in ROOT.rglob("*"):
        if not tools & set(path.relative_to(ROOT).parts) and ".coverage" not in path.name:
            yield path
