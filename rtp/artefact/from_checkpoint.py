"""A `DistilledMemory` from a run: from its checkpoint, or from the memory that was just learned."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rtp.artefact.kinds import identify_kind
from rtp.artefact.layout import Accuracy, Description, Kind, Protocol, trained_format
from rtp.artefact.loaded import DistilledMemory, assemble
from rtp.artefact.query_network import NETWORKS, QueryNetwork, as_call, default_arguments
from rtp.datamodules.base import ImageDataModule
from rtp.datamodules.class_sets import split_classes
from rtp.datamodules.normalisation import ZCA
from rtp.datamodules.streams.base import TaskStream
from rtp.errors import DataError, UserError, first_line
from rtp.modules.memories.addressable import LOG_RATE
from rtp.version import __version__

REPORTED = ("accuracy_mean", "accuracy_std", "networks", "epochs", "architecture", "training_set")
"""Entries of a test's results that describe a memory."""


def from_checkpoint(
    path: Path, checkpoint: dict[str, Any], data: ImageDataModule, config: dict[str, Any]
) -> DistilledMemory:
    """The memory in a checkpoint, with its validation accuracy and the results of its test, if known.

    Args:
        path: The checkpoint's file.
        checkpoint: Its content.
        data: The run's data set, set up.
        config: See `from_state`.

    Raises:
        UserError: If the memory does not suit the data set or is of the user's own class.
    """
    state = {name.removeprefix("memory."): value for name, value in checkpoint["state_dict"].items()}
    try:
        scores = [
            float(callback["best_model_score"])
            for name, callback in checkpoint.get("callbacks", {}).items()
            # last.ckpt has the best score too, but of another memory
            if name.startswith("BestCheckpoint") and Path(callback["best_model_path"]).name == path.name
        ]
    except (AttributeError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise UserError(f"{path} is damaged, its callbacks are no states of callbacks ({first_line(error)})") from error
    score, report = next(iter(scores), None), test_report(path, checkpoint, REPORTED)
    return from_state(state, data, config, checkpoint["global_step"], score, report, source=str(path))


def from_state(
    state: Mapping[str, Tensor],
    data: ImageDataModule,
    config: dict[str, Any],
    steps: int,
    score: float | None,
    report: dict[str, Any] | None = None,
    source: str = "the memory",
) -> DistilledMemory:
    """The memory with this state, as it would come back from a file.

    Args:
        state: The memory's `state_dict`.
        data: The run's data set, set up.
        config: The run's configuration: `seed_everything`, `model`, `data`, `evaluation`.
        steps: Outer steps that the memory was trained for.
        score: Its validation accuracy, if known.
        report: The `REPORTED` results of its test, if known.
        source: The memory's name in error messages.

    Raises:
        UserError: If the memory does not suit the data set, is damaged or of the user's own class.
    """
    kind, tensors = identified(state, source)
    rate = state.get(LOG_RATE, torch.zeros(())).exp()
    if rate.dim() or not rate.isfinite():
        raise UserError(f"{source} is damaged: its learned rate is no finite number")
    try:
        description = _description(data, config, kind, tensors, steps, score, report, rate.item())
        return assemble(description, tensors, data.normalisation)
    except (DataError, LookupError, TypeError, ArithmeticError) as error:
        reason = str(error) if isinstance(error, DataError) else f"{type(error).__name__} {error}"
        raise UserError(f"{source} does not fit the data set {data.name} ({reason}): change it with --data") from error


def _description(
    data: ImageDataModule,
    config: dict[str, Any],
    kind: Kind,
    tensors: dict[str, Tensor],
    steps: int,
    score: float | None,
    report: dict[str, Any] | None,
    rate_factor: float,
) -> Description:
    evaluation, model = config["evaluation"], config["model"]["init_args"]
    augmentation = evaluation.get("augmentation") or model.get("augmentation")
    trained = evaluation["protocol"] | {"learning_rate": evaluation["protocol"]["learning_rate"] * rate_factor}
    protocol = Protocol(
        networks=evaluation["networks"],
        **trained,
        architecture=as_call(model["network"]),
        augmentation=as_call(augmentation) if augmentation else None,
    )
    tasks = task = None  # `task` is what a validation measures, named as in a test's results
    if kind == "tasks":
        tasks = split_classes(data.num_classes, model["classes_per_task"], model.get("task_seed"))
        task = f"{model['extrapolation']['ways'][0]}-way recalled"
    elif kind == "image":
        task = f"{model['few_shot']['ways']}-way {model['few_shot']['shots'][0]}-shot image addressing"
    accuracies = []
    if score is not None:
        counts = (evaluation["validation_networks"], protocol.epochs)
        accuracies.append(Accuracy("validation", score, None, *counts, protocol.architecture.partition("(")[0], task))
    if report is not None:
        numbers = (report["accuracy_mean"], report["accuracy_std"], report["networks"], report["epochs"])
        tested = None if task is None else report["training_set"]
        accuracies.append(Accuracy("test", *numbers, report["architecture"], tested))
    return Description(
        **sizes(data, kind, tensors, data.class_names, len(tasks or [0])),
        stored_as=trained_format(config),
        steps=steps,
        protocol=protocol,
        accuracies=tuple(accuracies),
        # the memory in the file has no factor of its own
        config=without_folders(config | {"evaluation": evaluation | {"protocol": trained}}),
        query=query_network(model["memory"], tensors["addressing"]) if kind == "image" else None,
        tasks=tasks,
    )


def identified(state: Mapping[str, Tensor], source: str) -> tuple[Kind, dict[str, Tensor]]:
    """A memory's kind and its tensors by their names in a file, from its `state_dict`.

    Raises:
        UserError: If no file holds such a memory.
    """
    found = identify_kind(state)
    if found is None:
        raise UserError(
            f"{source} holds {', '.join(state)}: a file holds the tensors of an AddressableMemory, a PixelMemory, an "
            "ImageAddressedMemory or the AddressableMemories of tasks alone"
        )
    return found


def sizes(
    data: ImageDataModule | TaskStream, kind: Kind, tensors: dict[str, Tensor], names: Sequence[str], memories: int
) -> dict[str, Any]:
    """Entries of a description that follow from the data set and the tensors, those of several memories together."""
    stored = tensors["images" if kind == "pixel" else "bases"]
    return {
        "kind": kind,
        "image_shape": data.image_shape,
        "downsampling": data.image_shape[1] // stored.shape[2],
        "class_names": tuple(names),
        "num_slots": len(stored) // len(names) if kind == "pixel" else len(tensors["addressing"]) // memories,
        "zca_reg": data.normalisation.reg if isinstance(data.normalisation, ZCA) else None,
        "dataset": data.name,
        "rtp_version": __version__,
    }


def query_network(memory: dict[str, Any], addressing: Tensor) -> QueryNetwork:
    """The feature network of an image-addressed memory, as a file names it.

    Args:
        memory: The memory's part of a run's configuration.
        addressing: (r, d_y, K) the addressing matrices.

    Raises:
        UserError: If the network is not one of rtp's, or has dropout.
    """
    network = memory["init_args"]["feature_network"]
    module, _, name = network["class_path"].rpartition(".")
    if not module.startswith("rtp.") or name not in NETWORKS:
        raise UserError(f"the feature network is {network['class_path']}: a file holds {' or '.join(NETWORKS)} of rtp")
    given = dict(network.get("init_args") or {})
    if dropout := given.pop("dropout", 0):
        raise UserError(f"the feature network has dropout {dropout}: a file holds networks without")
    arguments = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in (default_arguments(NETWORKS[name]) | given).items()
    }
    return QueryNetwork(name, arguments, addressing.shape[1])


def test_report(path: Path, checkpoint: dict[str, Any], names: Sequence[str]) -> dict[str, Any] | None:
    """The results of a test beside the checkpoint, if they are of this very memory.

    Raises:
        UserError: If the file is damaged, or one of the names is missing.
    """
    report = path.with_name("test.json")
    if not report.is_file():
        return None
    try:
        test = json.loads(report.read_text(encoding="utf-8"))
        if test["checkpoint"] != path.name or test["steps"] != checkpoint["global_step"]:
            return None
        return {name: test[name] for name in names}
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise UserError(f"{report} is damaged ({type(error).__name__}): repeat the test or remove it") from error


def without_folders(config: dict[str, Any]) -> dict[str, Any]:
    """A run's configuration for others: a folder of one computer means nothing on another, and may reveal too much."""
    return config | {name: _part_without_folders(config[name]) for name in ("model", "data")}


def _part_without_folders(part: dict[str, Any]) -> dict[str, Any]:
    folders = ("root", "experts_dir")
    arguments = {name: None if name in folders else value for name, value in part["init_args"].items()}
    if isinstance(few_shot := arguments.get("few_shot"), dict):
        arguments["few_shot"] = few_shot | {"label_memory": None}
    if isinstance(source := arguments.get("source"), dict) and source.get("init_args"):  # of a stream
        arguments["source"] = _part_without_folders(source)
    return {**part, "init_args": arguments}
