"""Private names of Lightning and jsonargparse: each in one place, with a test that notices a renaming."""

from argparse import Action
from typing import Any

import lightning as L
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.strategies import DDPStrategy


def attached_trainer(module: L.LightningModule) -> L.Trainer | None:
    """The trainer of a module or None, where `module.trainer` raises an error."""
    return module._trainer


def minibatches_done(trainer: L.Trainer) -> int:
    """Minibatches that the training loop has finished, over all epochs and resumptions."""
    return int(trainer.fit_loop.epoch_loop.batch_progress.total.processed)  # type: ignore[attr-defined]


def validation_follows(trainer: L.Trainer) -> bool:
    """Whether Lightning validates after the training step that has just ended."""
    loop = trainer.fit_loop
    assert loop._data_fetcher is not None  # training runs
    return loop.epoch_loop._should_check_val_fx(loop._data_fetcher)


def writes_step(module: L.LightningModule) -> bool:
    """Whether what a module's training step logs is written: every `log_every_n_steps`-th, and the last before a stop.

    Nothing is written without a trainer.
    """
    trainer = attached_trainer(module)
    return trainer is not None and bool(trainer._logger_connector.should_update_logs)


def finds_unused_parameters(strategy: DDPStrategy) -> bool:
    """Whether a step may leave parameters without a gradient."""
    return bool(strategy._ddp_kwargs.get("find_unused_parameters"))


def event_writer(logger: TensorBoardLogger) -> Any:
    """The writer of TensorBoard's event file, for summaries other than scalars."""
    return logger.experiment._get_file_writer()


def setting(cli: LightningCLI, config: Any, name: str) -> Any:
    """The chosen subcommand's option `name`, or None; `config` is the CLI's `config` or `config_init` (instances)."""
    return cli._get(config, name)


def command_parser(cli: LightningCLI, command: str) -> LightningArgumentParser:
    """The parser of a subcommand."""
    return cli._subcommand_parsers[command]


def commands_action(cli: LightningCLI) -> Any:
    """Jsonargparse's action that subcommands are added to."""
    return cli.parser._subcommands_action


def command_help(cli: LightningCLI) -> list[Action]:
    """An entry for each subcommand, whose `dest` is the command and whose `help` is its line in `--help`."""
    entries: list[Action] = commands_action(cli)._choices_actions
    return entries
