"""`rtp test --memory`: the memory of a file in place of a checkpoint's."""

from pathlib import Path

import lightning as L
import yaml

from rtp.artefact import load
from rtp.cli.trusted_config import config_for_test
from rtp.datamodules import ImageDataModule
from rtp.errors import UserError
from rtp.modules.distillation.base import Distillation, MemorySource
from rtp.modules.distillation.task_distillation import TaskDistillation
from rtp.modules.memories.tasks import TaskMemories


def memory_config(path: Path, data: str | None) -> str:
    """The configuration that a file carries, as far as a test needs it.

    Args:
        path: A file of `rtp export`.
        data: The data set that the user names beside it, if any.

    Returns:
        YAML text with the seed, model, data and evaluation.

    Raises:
        UserError: If the file is no memory, its configuration names classes that are not rtp's own, or its data set
            was a program's own and none is named.
    """
    config = config_for_test(load(path).description.config)
    if data is None and yaml.safe_load(config)["data"]["class_path"].endswith(".TorchDataset"):
        raise UserError(f"{path} was distilled from a program's own data set: name one, as with --data MNIST")
    return config


def use_memory(path: Path, module: L.LightningModule, data: L.LightningDataModule) -> None:
    """Give a module the memory of a file, and a data set its normalisation: what is tested is the file alone.

    Args:
        path: A file of `rtp export`.
        module: The module that is going to be tested.
        data: Its data set, not set up yet.

    Raises:
        UserError: If the file is no memory, of other classes or images than the data set's, or of a kind that the
            module has no test for.
    """
    stored = load(path)
    if not isinstance(module, Distillation) or not isinstance(data, ImageDataModule):
        raise UserError(f"--memory needs a module with a memory and an ImageDataModule, got {type(module).__name__}")
    for what, theirs, ours in (
        ("images of the shape", stored.image_shape, data.image_shape),
        ("the classes", stored.class_names, tuple(data.class_names)),
    ):
        if theirs != ours:
            given = f"the data set {data.name} {_short(ours)}"
            raise UserError(f"{path} has {what} {_short(theirs)}, {given}: change --data")
    tasks_are_missing = isinstance(module, TaskDistillation) and not isinstance(stored.memory, TaskMemories)
    if stored.memory.queried_by != module.queried_by or tasks_are_missing:
        raise UserError(
            f"{path} has a memory of the kind {stored.description.kind!r}, which {type(module).__name__} cannot test: "
            "leave out --config and --model, as the file says how it is tested"
        )
    module.memory = stored.memory
    module.trained_steps = stored.description.steps
    module.memory_source = MemorySource(path.name, stored.description.stored_as, stored.storage_bytes)
    data.normalisation = stored.normalisation


def _short(value: object) -> str:
    text = ascii(value)
    return text if len(text) <= 60 else f"{text[:60]}..."
