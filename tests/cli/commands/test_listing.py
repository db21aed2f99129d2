"""What `rtp list` finds."""

from pathlib import Path

import pytest

from rtp.cli.commands.listing import KINDS, available, format_parts
from rtp.cli.commands.registry import OTHER_COMMANDS
from rtp.errors import UserError

DATA, MEMORIES, NETWORKS = (kind for kind in KINDS if kind.startswith(("data", "memories", "networks")))

PLUGINS = '''
from torch import nn
from rtp.datamodules import Digits, ImageDataModule
from rtp.modules import Memory, PixelMemory

class Stars(Digits):
    """Dwarfs and giants.

    More on them.
    """

class Unfinished(ImageDataModule):
    """Not a data set yet: abstract."""

class Own(PixelMemory):
    pass

class Perceptron(nn.Module):
    """Needs no base."""
    def __init__(self, image_shape, num_classes, width=1): ...

class Block(nn.Module):
    """Is no network: other arguments."""
    def __init__(self, width): ...
'''


@pytest.fixture
def plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "plugins_to_list.py").write_text(PLUGINS)
    monkeypatch.syspath_prepend(tmp_path)
    return "plugins_to_list"


def test_every_kind_has_parts_with_a_line_each_and_no_abstract_base() -> None:
    parts = available()
    assert list(parts) == list(KINDS)
    for kind, found in parts.items():
        assert found, kind
        for part in found:
            assert part.summary, part.name
            assert "\n" not in part.summary
    names = {part.name for found in parts.values() for part in found}
    assert {"CIFAR10", "AddressableMemory", "ConvNet", "StepwiseUnroll", "RandomWindow", "InnerSGD"} <= names
    assert {"FlipOrRotate", "MemoryDistillation", "LastCheckpoint"} <= names
    assert not {"ImageDataModule", "Memory", "Network", "Unroll", "Window"} & names


def test_classes_of_another_module_go_by_their_path(plugins: str) -> None:
    parts = available([plugins])
    assert [part.name for part in parts[DATA] if "." in part.name] == [f"{plugins}.Stars"]
    assert parts[DATA][-1].summary == "Dwarfs and giants."
    assert [part.name for part in parts[MEMORIES] if "." in part.name] == [f"{plugins}.Own"]
    assert [part.name for part in parts[NETWORKS] if "." in part.name] == [f"{plugins}.Perceptron"]


def test_the_text_has_a_heading_a_kind_and_aligned_lines(plugins: str) -> None:
    text = format_parts(available([plugins]))
    assert text.startswith("data sets (--data)\n  CIFAR10 ")
    block = next(block for block in text.split("\n\n") if block.startswith("memories"))
    lines = block.splitlines()[1:]
    assert lines[0].index("Bases shared") == lines[1].index("Bases and") == lines[2].index("One learned image")
    assert lines[3].startswith(f"  {plugins}.Own")  # a class without a docstring has its base's line


def test_a_module_that_cannot_be_imported_is_named() -> None:
    with pytest.raises(UserError, match=r"the module 'no_such' cannot be imported .*: give its name as in a class"):
        available(["no_such"])


def test_the_command_prints_it(plugins: str, capsys: pytest.CaptureFixture[str]) -> None:
    OTHER_COMMANDS["list"]([plugins])
    printed = capsys.readouterr().out
    assert printed == format_parts(available([plugins])) + "\n"
    assert f"{plugins}.Stars" in printed
