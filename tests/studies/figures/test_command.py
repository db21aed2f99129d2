"""`rtp plot`, as a user would call it."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("matplotlib", reason="figures need the extra rtp[plots]")

from matplotlib.figure import Figure

from rtp.artefact import DistilledMemory
from rtp.cli import app as cli
from rtp.cli.commands.registry import OTHER_COMMANDS
from rtp.datamodules import CIFAR100
from rtp.errors import UserError
from rtp.studies.figures import command
from rtp.studies.figures.command import plot
from rtp.studies.table import Row, append_rows

MakeMemory = Callable[..., DistilledMemory]
MakeRow = Callable[..., Row]


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_memory: MakeMemory, row: MakeRow) -> None:
    """Two memories and a table in a folder of their own."""
    monkeypatch.chdir(tmp_path)
    make_memory().save("ours.safetensors")
    make_memory(kind="pixel").save("theirs.safetensors")
    append_rows(Path("results.csv"), [row("none", 0.4), row("full", 0.5), row("full", 0.6, size="paper")])


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that are saved."""
    figures: list[Figure] = []

    def save(figure: Figure, path: Path, tensorboard: Path | None) -> list[Path]:
        figures.append(figure)
        return [path]

    monkeypatch.setattr(command, "save_figure", save)
    return figures


@pytest.mark.parametrize(
    "options",
    [
        ["similarity", "ours.safetensors"],
        ["bases", "ours.safetensors", "--name", "Ours"],
        ["recalled", "ours.safetensors", "theirs.safetensors", "--classes", "hen"],
        ["study", "results.csv", "--study", "momentum"],
    ],
)
def test_each_figure_is_two_files(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    OTHER_COMMANDS["plot"]([*options, "--out", "figure.pdf", "--tensorboard", "events"])
    assert capsys.readouterr().out == "wrote figure.png and figure.pdf\n"
    assert Path("figure.png").stat().st_size > 1000
    assert Path("figure.pdf").stat().st_size > 1000
    assert len(list(Path("events").iterdir())) == 1


def test_options_reach_the_figures(drawn: list[Figure]) -> None:
    plot(["similarity", "ours.safetensors", "--classes", "hen", "cat", "--order", "given", "--out", "x"])
    plot(["bases", "ours.safetensors", "--name", "Ours", "--out", "x"])
    plot(["recalled", "ours.safetensors", "theirs.safetensors", "--names", "A", "B", "--images", "2", "--out", "x"])
    plot(["recalled", "theirs.safetensors", "--out", "x"])
    plot(["study", "results.csv", "--study", "momentum", "--size", "paper", "--out", "x"])
    similarity, bases, recalled, alone, study = drawn
    assert [label.get_text() for label in similarity.axes[0].get_yticklabels()] == ["hen", "cat"]
    assert similarity.get_suptitle() == "ours"
    assert bases.axes[0].get_title().startswith("Ours\n")
    assert [axes.get_title()[:2] for axes in recalled.axes] == ["A\n", "B\n"]
    assert recalled.axes[0].images[0].get_extent()[1] == 2 * 50 + 2
    assert [label.get_text() for label in alone.axes[0].get_yticklabels()] == ["cat", "sea dog", "$cow$"]
    assert alone.axes[0].get_title().startswith("theirs\n")
    assert [axes.get_title().partition("\n")[0] for axes in study.axes] == ["Digits, size paper"]


def test_the_blocks_of_cifar_100_are_printed(
    make_memory: MakeMemory, drawn: list[Figure], capsys: pytest.CaptureFixture[str]
) -> None:
    make_memory(class_names=CIFAR100.class_names).save("cifar100.safetensors")
    plot(["similarity", "cifar100.safetensors", "--out", "x"])
    printed = capsys.readouterr().out
    assert printed.startswith("mean similarity ")
    assert "within superclasses" in printed
    assert len(drawn) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["similarity", "none.safetensors", "--out", "x"], "'none.safetensors' is no file"),
        (["similarity", "theirs.safetensors", "--out", "x"], "the classes of a pixel memory share no bases"),
        (["similarity", "ours.safetensors", "--order", "size", "--out", "x"], "invalid choice: 'size'"),
        (["bases", "ours.safetensors"], "the following arguments are required: --out; `rtp plot bases --help`"),
        (["bases", "ours.safetensors", "--out", "x.svg"], "--out x.svg is written as PNG and PDF"),
        (["recalled", "ours.safetensors", "--names", "A", "B", "--out", "x"], "--names has 2 names for 1 memories"),
        (["recalled", "ours.safetensors", "--images", "0", "--out", "x"], "--images 0 of 3 classes"),
        (["study", "none.csv", "--study", "momentum", "--out", "x"], "there is no table 'none.csv'"),
        (["study", "results.csv", "--study", "unroll", "--out", "x"], "no results of a study 'unroll'"),
        ([], "the following arguments are required: FIGURE; `rtp plot --help` lists"),
        (["pie", "--out", "x"], "invalid choice: 'pie'"),
    ],
)
def test_what_is_not_usable_is_one_line_and_writes_nothing(options: list[str], message: str) -> None:
    before = set(Path.cwd().iterdir())
    with pytest.raises(UserError, match=message) as error:
        plot(options)
    assert "\n" not in str(error.value)
    assert set(Path.cwd().iterdir()) == before


def test_it_is_part_of_the_program(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(cli, "keep_freed_memory", lambda: None)  # of the whole process
    monkeypatch.setattr(sys, "argv", ["rtp", "plot", "--help"])
    with pytest.raises(SystemExit) as stopped:
        cli.entry_point()
    assert not stopped.value.code
    printed = capsys.readouterr().out
    assert "usage: rtp plot" in printed
    assert all(name in printed for name in ("similarity", "bases", "recalled", "study"))
