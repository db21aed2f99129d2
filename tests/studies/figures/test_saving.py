"""Both files, the same whenever they are written, and the picture in TensorBoard."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

pytest.importorskip("matplotlib", reason="figures need the extra rtp[plots]")

from matplotlib.figure import Figure
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from rtp.errors import UserError
from rtp.studies.figures.saving import save_figure, without_suffix
from rtp.studies.figures.style import new_figure, styled


@pytest.fixture
def figure() -> Figure:
    with styled():
        figure = new_figure(2, 1)
        figure.subplots().plot([1, 2, 3], label="$x")
        figure.suptitle("a title")
    return figure


def test_png_and_pdf_are_written_and_replaced(figure: Figure, tmp_path: Path) -> None:
    files = save_figure(figure, tmp_path / "figures" / "one.two", None)
    assert files == [tmp_path / "figures" / "one.two.png", tmp_path / "figures" / "one.two.pdf"]
    with Image.open(files[0]) as image:
        assert image.size == (400, 200)  # 200 dots an inch
    before = [path.read_bytes() for path in files]
    assert before[1].startswith(b"%PDF")
    assert b"/FontFile2" in before[1]  # letters, not their outlines
    assert b"CreationDate" not in before[1]
    time.sleep(1.1)  # a time stamp has seconds
    save_figure(figure, tmp_path / "figures" / "one.two", None)
    assert [path.read_bytes() for path in files] == before
    assert sorted((tmp_path / "figures").iterdir()) == sorted(files)


def test_tensorboard_gets_the_picture(figure: Figure, tmp_path: Path) -> None:
    save_figure(figure, tmp_path / "one", tmp_path / "events")
    events = EventAccumulator(str(tmp_path / "events"))
    events.Reload()
    assert events.Tags()["images"] == ["figures/one"]
    (event,) = events.Images("figures/one")
    assert (event.width, event.height) == (200, 100)


@pytest.mark.parametrize("out", ["figures/one", "figures/one.png", "figures/one.pdf"])
def test_either_name_means_both_files(out: str) -> None:
    assert without_suffix(out) == Path("figures/one")


@pytest.mark.parametrize("out", ["figures/ipc0.5", "figures/ipc0.5.png"])
def test_a_number_is_no_ending(out: str) -> None:
    assert without_suffix(out) == Path("figures/ipc0.5")


def test_another_ending_is_refused() -> None:
    with pytest.raises(
        UserError, match=r"^--out figures/one.svg is written as PNG and PDF: call it one, without .svg$"
    ):
        without_suffix("figures/one.svg")


def test_a_full_disk_leaves_the_old_figure(
    figure: Figure, tmp_path: Path, full_disk: Callable[[int], AbstractContextManager[None]]
) -> None:
    for name in ("one.png", "one.pdf"):
        (tmp_path / name).write_bytes(b"old")
    with full_disk(1000), pytest.raises(UserError, match=r"one cannot be written \(File too large\): use another"):
        save_figure(figure, tmp_path / "one", None)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == {"one.png": b"old", "one.pdf": b"old"}


def test_what_cannot_be_written_is_one_line(figure: Figure, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"file/one cannot be written \(.*\): use another --out$"):
        save_figure(figure, tmp_path / "file" / "one", None)
