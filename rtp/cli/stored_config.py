"""The files that a command is given: shipped configurations by name, and what a memory or checkpoint says of itself."""

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import lightning as L
import yaml

from rtp.artefact import DistilledMemory, load
from rtp.artefact.entries import shown
from rtp.artefact.from_stream import names_of, stream_of
from rtp.cli.trusted_config import config_for_test
from rtp.datamodules import ImageDataModule, TaskStream
from rtp.errors import UserError
from rtp.modules import CompressThenRecall
from rtp.modules.distillation.base import Distillation, MemorySource
from rtp.runs.checkpoints import checkpoint_config, load_checkpoint
from rtp.utils.shipped import find


def with_shipped_configs(args: Sequence[str]) -> list[str]:
    """Replace the names of shipped configurations after `--config` by their paths; see `find`.

    Raises:
        UserError: If a name is none of theirs.
    """
    found = list(args)
    for number, argument in enumerate(args):
        option, equals, value = argument.partition("=")
        if option in ("--config", "-c") and equals:
            found[number] = f"{option}={find('configs', value)}"
        elif option in ("--config", "-c") and number + 1 < len(args):
            found[number + 1] = str(find("configs", args[number + 1]))
    return found


def with_stored_config(args: Sequence[str]) -> tuple[list[str], DistilledMemory | None]:
    """Put the configuration in a checkpoint or a memory's file in front of the other options.

    Args:
        args: Command-line arguments, the subcommand first.

    Returns:
        The arguments of `validate`, `test` and `predict` with the model, data and evaluation of the run that wrote the
        file, which the other arguments override; unchanged with `--config`, without a file, and for other commands.
        Then the memory for `test`, if given.

    Raises:
        UserError: If the file is damaged or not from rtp, two files are given, or the file names classes that are not
            rtp's own.
    """
    options = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    options.add_argument("-c", "--config")
    for option in ("--ckpt_path", "--memory", "--data"):
        options.add_argument(option)
    options.add_argument("--lift_limits", action="store_true")
    given, _ = options.parse_known_args(args)
    if given.memory and given.ckpt_path:
        raise UserError(f"--memory {given.memory} and --ckpt_path {given.ckpt_path} are two memories: give one of them")
    command, memory, config = args[0] if args else "", None, None
    if command == "test" and given.memory:
        memory = load(given.memory)
        config = None if given.config else config_for_test(memory.description.config, given.lift_limits)
        if config and given.data is None and yaml.safe_load(config)["data"]["class_path"].endswith(".TorchDataset"):
            raise UserError(
                f"{given.memory} was distilled from a program's own data set: name one, as with --data MNIST"
            )
    elif command in ("validate", "test", "predict") and given.ckpt_path:
        checkpoint = load_checkpoint(Path(given.ckpt_path))  # a damaged one is reported now, in a line
        if not given.config:
            config = config_for_test(checkpoint_config(Path(given.ckpt_path), checkpoint), given.lift_limits)
    args = [argument for argument in args if argument != "--lift_limits"]
    return list(args) if config is None else [command, "--config", config, *args[1:]], memory


def use_memory(path: Path, stored: DistilledMemory, module: L.LightningModule, data: L.LightningDataModule) -> None:
    """Let a module test the memory stored in a file, with the file's normalisation; `data` is not set up yet.

    A learner of streams tests the memories of all finished tasks, each on its own task.

    Raises:
        UserError: If the memory's classes or images differ from the data set's, the module cannot test its kind, or the
            stream is another.
    """
    if isinstance(module, CompressThenRecall) and isinstance(data, TaskStream):
        _use_memories(path, stored, module, data)
        return
    if not isinstance(module, Distillation) or not isinstance(data, ImageDataModule):
        raise UserError(f"--memory needs a module with a memory and an ImageDataModule, got {type(module).__name__}")
    for what, theirs, ours in (
        ("images of the shape", stored.image_shape, data.image_shape),
        ("the classes", stored.class_names, tuple(data.class_names)),
    ):
        if theirs != ours:
            given = f"the data set {data.name} {shown(ours, 60)}"
            raise UserError(f"{path} has {what} {shown(theirs, 60)}, {given}: change --data")
    if not module.can_test(stored.memory):
        raise UserError(
            f"{path} has a memory of the kind {stored.description.kind!r}, which {type(module).__name__} cannot test: "
            "leave out --config and --model, as the file says how it is tested"
        )
    source = MemorySource(path.name, stored.description.stored_as, stored.storage_bytes)
    module.use_memory(stored.memory, stored.description.steps, source)
    data.normalisation = stored.normalisation


def _use_memories(path: Path, stored: DistilledMemory, learner: CompressThenRecall, data: TaskStream) -> None:
    told = stored.description.stream
    if told is None or not stored.tasks:
        what = "of one task alone" if told is not None else "of no stream"
        raise UserError(f"{path} has a memory {what}: give --memory the file of all tasks of a stream")
    finished = min(len(stored.tasks), data.num_tasks)
    if stored.image_shape != data.image_shape:
        raise UserError(
            f"{path} has images of {stored.image_shape}, and {data.name} of {data.image_shape}: change --data"
        )
    data.source.normalisation = stored.normalisation
    data.prepare_data()
    data.setup("test")  # now: how many samples a task has, by which a stream is known, follows from the data
    here = asdict(stream_of(data, finished)) | {"classes": names_of(data, finished)}
    here["arguments"] = {name: value for name, value in here["arguments"].items() if name in told.arguments}
    for name, theirs in (asdict(told) | {"classes": stored.class_names}).items():
        if theirs != here[name]:
            raise UserError(
                f"{path} is of a stream with {name} {shown(theirs, 60)}, and this one has {shown(here[name], 60)}: "
                "leave out --config and --data, as the file says how it is tested"
            )
    memories = [stored.task(number).memory for number in range(finished)]
    source = MemorySource(path.name, stored.description.stored_as, stored.storage_bytes)
    learner.use_memories(memories, stored.description.steps, source)
