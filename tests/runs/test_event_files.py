"""Event files: what TensorBoard reads, and what a full disk does to them."""

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from rtp.runs.event_files import CurvesLogger, EventWriter

FullDisk = Callable[[int], AbstractContextManager[None]]


def points(folder: Path, tag: str = "loss") -> list[tuple[int, float]]:
    """What TensorBoard shows of a folder."""
    return [(event.step, event.value) for event in EventAccumulator(str(folder)).Reload().Scalars(tag)]


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    monkeypatch.setattr(logging.getLogger("rtp"), "propagate", True)
    return lambda: [record.message for record in caplog.records]


def test_points_and_settings_are_written_at_once(tmp_path: Path) -> None:
    logger = CurvesLogger(tmp_path / "new", name="", version="", default_hp_metric=False)
    logger.hparams.update({"model.width": 8})
    logger.log_metrics({"loss": 2.0}, 0)
    logger.log_metrics({"loss": 1.5}, 1)
    assert points(tmp_path / "new") == [(0, 2.0), (1, 1.5)]
    logger.experiment.add_image("picture", torch.rand(3, 4, 4), 1)
    logger.finalize("success")
    (file,) = (tmp_path / "new").glob("events.out.tfevents.*")
    assert EventAccumulator(str(file)).Reload().Tags()["images"] == ["picture"]
    assert (tmp_path / "new" / "hparams.yaml").read_text() == "model.width: 8\n"


def test_a_resumed_run_s_points_take_the_place_of_those_it_computes_again(tmp_path: Path) -> None:
    for purge_step, value in ((None, 1.0), (2, 5.0)):
        with EventWriter(str(tmp_path), purge_step=purge_step) as writer:
            for step in range(purge_step or 0, 4):
                writer.add_scalar("loss", value, step)
    assert points(tmp_path) == [(0, 1.0), (1, 1.0), (2, 5.0), (3, 5.0)]


def test_a_full_disk_costs_whole_points_and_one_warning(
    tmp_path: Path, full_disk: FullDisk, said: Callable[[], list[str]]
) -> None:
    with EventWriter(str(tmp_path)) as writer:
        with full_disk(500):
            for step in range(20):
                writer.add_scalar("loss", step / 2, step)
            writer.flush()
        (warning,) = said()
        (file,) = tmp_path.iterdir()
        assert warning == f"curves are lost until there is room: {file} cannot be written (File too large)"
        held = len(points(tmp_path))
        assert 0 < held < 20
        for step in range(20, 23):  # there is room again
            writer.add_scalar("loss", step / 2, step)
        with full_disk(file.stat().st_size):
            writer.add_scalar("loss", 0.0, 23)
    assert [step for step, _ in points(tmp_path)] == [*range(held), 20, 21, 22]
    assert len(said()) == 2


def test_no_empty_file_is_left(tmp_path: Path, full_disk: FullDisk, said: Callable[[], list[str]]) -> None:
    logger = CurvesLogger(tmp_path, name="", version="", default_hp_metric=False)
    logger.hparams.update({"name": "x" * 100})
    with full_disk(20):
        logger.log_metrics({"loss": 1.0}, 0)
        logger.save()
        logger.finalize("success")
    assert list(tmp_path.iterdir()) == []
    settings = f"{tmp_path / 'hparams.yaml'} cannot be written (File too large): make room, the run goes on"
    assert said()[1:] == [settings]
    logger.save()
    assert [file.name for file in tmp_path.iterdir()] == ["hparams.yaml"]


def test_a_folder_in_the_way_does_not_end_a_run(tmp_path: Path, said: Callable[[], list[str]]) -> None:
    (tmp_path / "file").touch()
    CurvesLogger(tmp_path / "file").log_metrics({"loss": 1.0}, 0)
    assert [message.rpartition("(")[2] for message in said()] == ["Not a directory)"]
