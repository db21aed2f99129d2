"""A `DistilledMemory` from the checkpoint of a stream: the memories of all tasks that are finished."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from rtp.artefact.from_checkpoint import sizes, test_report, without_folders
from rtp.artefact.kinds import identify_kind
from rtp.artefact.layout import Accuracy, Description, Protocol, Stream, task_name, trained_format
from rtp.artefact.loaded import DistilledMemory, assemble
from rtp.artefact.query_network import as_call
from rtp.datamodules.streams.base import TaskStream
from rtp.errors import DataError, UserError, first_line

FINISHED, STORED = "finished_tasks", "stored."
"""Of the state of a learner: how many tasks are finished; the prefix of each task's memory, before its number."""
TOLD_APART = ("kind", "source", "seed", "tasks", "samples")
"""Entries of a stream's description that a file has fields for; the others are its `arguments`."""


def is_of_stream(checkpoint: dict[str, Any]) -> bool:
    """Whether a checkpoint is of a learner of streams."""
    return FINISHED in checkpoint["state_dict"]


def from_stream(path: Path, checkpoint: dict[str, Any], data: TaskStream, config: dict[str, Any]) -> DistilledMemory:
    """The memories of all finished tasks, with their validation accuracies and the results of a test, if known.

    Label t * k + c is class c of task t.

    Args:
        path: The checkpoint's file.
        checkpoint: Its content.
        data: The run's stream, set up.
        config: The run's configuration: `seed_everything`, `model`, `data`, `evaluation`.

    Raises:
        UserError: If the learner stores no memories or none that a file can hold, no task is finished, the checkpoint
            is damaged, or the memories do not suit the stream.
    """
    learner = config["model"]["class_path"].rpartition(".")[2]
    state = checkpoint["state_dict"]
    if not any(name.startswith(STORED) for name in state):
        raise UserError(
            f"{path} is of {learner}, which keeps no memories of tasks: fit the stream with CompressThenRecall instead"
        )
    parts = finished_memories(state)
    if not parts:
        raise UserError(f"no task of {path} is finished yet: there is no memory to write, so train longer")
    finished = len({name.partition(".")[0] for name in parts})
    found = identify_kind({f"memories.{name}": tensor for name, tensor in parts.items()})
    if found is None or found[0] != "tasks":
        raise UserError(
            f"a file holds the AddressableMemories of tasks, and {path} has memories of another kind: `rtp predict "
            f"--ckpt_path {path}` writes what they recall"
        )
    kind, tensors = found
    model, size = config["model"]["init_args"], data.num_classes
    try:
        protocol = Protocol(
            networks=model["networks"],
            **model["protocol"],
            architecture=as_call(model["network"]),
            augmentation=as_call(model["augmentation"]) if model.get("augmentation") else None,
        )
        description = Description(
            **sizes(data, kind, tensors, names_of(data, finished), finished),
            stored_as=trained_format(config),
            steps=checkpoint["global_step"],
            protocol=protocol,
            accuracies=tuple(_accuracies(path, checkpoint, protocol, finished)),
            config=without_folders(config),
            tasks=tuple(tuple(range(task * size, (task + 1) * size)) for task in range(finished)),
            stream=stream_of(data, finished),
        )
        return assemble(description, tensors, data.normalisation)
    except (DataError, LookupError, TypeError, ArithmeticError) as error:
        reason = str(error) if isinstance(error, DataError) else f"{type(error).__name__} {error}"
        raise UserError(f"{path} does not fit the stream {data.name} ({reason}): change it with --data") from error


def finished_memories(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The memories of finished tasks in a learner's state: their tensors, whose names begin with the task's number."""
    names = {name: name.removeprefix(STORED) for name in state if name.startswith(STORED)}
    finished = state[FINISHED].flatten()[0] if state[FINISHED].numel() else 0
    return {
        rest: state[name]
        for name, rest in names.items()
        if (number := rest.partition(".")[0]).isdecimal() and int(number) < finished
    }


def _accuracies(path: Path, checkpoint: dict[str, Any], protocol: Protocol, finished: int) -> Iterator[Accuracy]:
    """For each split that was measured the mean over the tasks, "retained accuracy" (5.2), and that of each task."""
    try:
        history = checkpoint["callbacks"]["RetainedAccuracy"]["history"]
        for row in [row for row in history if len(row) == finished][-1:]:
            yield from _measured("validation", [[float(value)] * protocol.networks for value in row], protocol)
    except (LookupError, TypeError, ValueError) as error:
        raise UserError(f"{path} is damaged, its callbacks are no states of callbacks ({first_line(error)})") from error
    report = test_report(path, checkpoint, ("test_accuracies", FINISHED))
    if report is not None and report[FINISHED] == finished:
        yield from _measured("test", report["test_accuracies"], protocol)


def _measured(
    split: Literal["validation", "test"], values: list[list[float]], protocol: Protocol
) -> Iterator[Accuracy]:
    accuracies = torch.tensor(values, dtype=torch.float64)  # (tasks, networks)
    names = [f"mean of {len(values)} tasks", *map(task_name, range(len(values)))]
    for name, of_networks in zip(names, [accuracies.mean(0), *accuracies], strict=True):
        # a history holds means over the networks
        std = None if split == "validation" else float(of_networks.std(correction=0))
        how = len(of_networks), protocol.epochs, protocol.architecture.partition("(")[0]
        yield Accuracy(split, float(of_networks.mean()), std, *how, name)


def names_of(data: TaskStream, finished: int) -> tuple[str, ...]:
    """Names of the classes of the first tasks, task by task."""
    return tuple(data.source.class_names[label] for task in range(finished) for label in data.classes(task))


def stream_of(data: TaskStream, finished: int) -> Stream:
    """What a file says of a stream, set up, of which this many tasks are finished."""
    said = data.description()
    return Stream(
        kind=data.kind,
        source=data.source.name,
        seed=data.seed,
        tasks=data.num_tasks,
        samples=tuple(data.num_samples(task, "train") for task in range(finished)),
        steps=tuple(len(data.pass_over(task)) for task in range(finished)),
        arguments={name: value for name, value in said.items() if name not in TOLD_APART},
    )
