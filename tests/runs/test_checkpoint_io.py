"""Checkpoints are written whole or not at all."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
import torch

from rtp.errors import UserError
from rtp.runs.checkpoint_io import AtomicCheckpointIO
from rtp.runs.checkpoints import LAST, PREVIOUS


class Killed(BaseException):
    """What a test raises where the process would be gone."""


def write(path: Path, step: int) -> None:
    AtomicCheckpointIO().save_checkpoint({"step": step, "weights": torch.ones(1000)}, path)


def step(path: Path) -> int:
    return int(torch.load(path, weights_only=True)["step"])


def test_the_last_but_one_is_kept(tmp_path: Path) -> None:
    last, best = tmp_path / "new" / LAST, tmp_path / "new" / "best.ckpt"
    for number in range(3):
        write(last, number)
        write(best, number)
    assert {file.name for file in last.parent.iterdir()} == {LAST, PREVIOUS, "best.ckpt"}
    assert [step(last), step(last.with_name(PREVIOUS)), step(best)] == [2, 1, 2]


@pytest.mark.parametrize("name", [LAST, "best.ckpt"])
def test_a_write_that_is_killed_leaves_the_old_file(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def torn(checkpoint: Any, file: Any) -> None:
        file.write(b"PK half of it")
        raise Killed

    write(tmp_path / name, 1)
    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", torn)
        with pytest.raises(Killed):
            write(tmp_path / name, 2)
    assert step(tmp_path / name) == 1
    write(tmp_path / name, 3)  # over what the killed one has left
    assert step(tmp_path / name) == 3
    assert not list(tmp_path.glob("*.part"))


def test_a_full_disk_is_one_line_and_the_old_file_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(checkpoint: Any, file: Any) -> None:
        raise OSError(28, "No space left on device")

    write(tmp_path / LAST, 1)
    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(UserError, match=r"last.ckpt cannot be written \(No space left on device\): make room") as error:
        write(tmp_path / LAST, 2)
    assert str(error.value).endswith(f", then continue with --ckpt_path last --run_dir {tmp_path}")
    assert step(tmp_path / LAST) == 1


@pytest.mark.parametrize("most", [0, 100, 1000, 4000])
def test_a_disk_that_fills_anywhere_is_one_line(
    most: int, tmp_path: Path, full_disk: Callable[[int], AbstractContextManager[None]]
) -> None:
    message = r"last.ckpt cannot be written \(File too large\): make room, then start another run$"
    with full_disk(most), pytest.raises(UserError, match=message):
        write(tmp_path / LAST, 1)
    assert list(tmp_path.iterdir()) == []
