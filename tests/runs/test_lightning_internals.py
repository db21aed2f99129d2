"""Lightning's private names: each test fails when Lightning, jsonargparse or torch renames one."""

from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch.cli import LightningCLI
from lightning.pytorch.demos.boring_classes import BoringDataModule, BoringModel
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.strategies import DDPStrategy
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.tensorboard.writer import FileWriter

from rtp.runs import lightning_internals as internals


class Watching(BoringModel):
    """Notes after each step what has been done and whether a validation follows."""

    def __init__(self) -> None:
        super().__init__()
        self.notes: list[tuple[int, bool]] = []
        self.validated: list[int] = []

    def on_train_batch_end(self, *_: Any) -> None:
        assert internals.attached_trainer(self) is self.trainer
        self.notes.append((internals.minibatches_done(self.trainer), internals.validation_follows(self.trainer)))

    def on_validation_start(self) -> None:
        self.validated.append(internals.minibatches_done(self.trainer))


def test_the_training_loop_says_how_far_it_is_and_whether_a_validation_follows(tmp_path: Path) -> None:
    trainer = L.Trainer(
        accelerator="cpu",
        max_steps=4,
        limit_val_batches=1,
        val_check_interval=2,
        check_val_every_n_epoch=None,
        num_sanity_val_steps=0,
        default_root_dir=tmp_path,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    module = Watching()
    assert internals.attached_trainer(module) is None
    trainer.fit(module, datamodule=BoringDataModule())
    assert [done for done, _ in module.notes] == [1, 2, 3, 4]
    assert [done for done, follows in module.notes if follows] == module.validated == [2, 4]


class Logging(BoringModel):
    """Logs a number in every step, another where it would be written, and both again in a step that stops training."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        self.log("always", 0.0)
        self.trainer.should_stop = self.trainer.global_step == 7
        if internals.writes_step(self):
            self.log("written", 0.0)
        return super().training_step(batch, batch_idx)


@pytest.mark.parametrize(("every", "steps"), [(1, list(range(8))), (3, [2, 5, 7]), (0, [])])
def test_a_step_knows_whether_what_it_logs_is_written(every: int, steps: list[int], tmp_path: Path) -> None:
    trainer = L.Trainer(
        accelerator="cpu",
        max_epochs=3,
        limit_train_batches=4,  # the count goes on over epochs
        limit_val_batches=0,
        log_every_n_steps=every,
        logger=TensorBoardLogger(tmp_path, name="", version=""),
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    module = Logging()
    assert not internals.writes_step(module)  # there is no trainer yet
    trainer.fit(module, datamodule=BoringDataModule())
    curves = EventAccumulator(str(tmp_path)).Reload()
    written = {tag: [event.step for event in curves.Scalars(tag)] for tag in curves.Tags()["scalars"]}
    assert written.get("always", []) == written.get("written", []) == steps


def test_ddp_says_whether_a_step_may_leave_parameters_alone() -> None:
    assert internals.finds_unused_parameters(DDPStrategy(find_unused_parameters=True))
    assert not internals.finds_unused_parameters(DDPStrategy())


def test_the_event_file_takes_summaries(tmp_path: Path) -> None:
    logger = TensorBoardLogger(tmp_path)
    assert isinstance(internals.event_writer(logger), FileWriter)
    logger.finalize("success")


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LightningCLI:
    arguments = ["--trainer.default_root_dir", str(tmp_path), "--trainer.logger=false", "--trainer.max_steps=7"]
    quiet = ["--trainer.enable_progress_bar=false", "--trainer.accelerator=cpu", "--trainer.fast_dev_run=1"]
    monkeypatch.setattr("sys.argv", ["program", "validate", *arguments, *quiet])
    return LightningCLI(BoringModel, BoringDataModule, save_config_callback=None, seed_everything_default=0)


def test_the_command_line_gives_settings_and_parsers(cli: LightningCLI) -> None:
    assert internals.setting(cli, cli.config, "trainer").max_steps == 7
    assert isinstance(internals.setting(cli, cli.config_init, "model"), torch.nn.Module)
    assert internals.setting(cli, cli.config, "nothing") is None
    commands = internals.command_help(cli)
    assert [command.dest for command in commands] == ["fit", "validate", "test", "predict"]
    assert "--ckpt_path" in internals.command_parser(cli, "test").format_help()
    assert set(internals.commands_action(cli).choices) == {"fit", "validate", "test", "predict"}
