"""`rtp export`: a checkpoint's memory as a file that needs neither the checkpoint nor the data."""

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jsonargparse
import yaml
from torch import Tensor

from rtp.artefact import Accuracy, Description, DistilledMemory, Protocol, load
from rtp.artefact.kinds import recognised
from rtp.artefact.layout import STORED_TYPES, Kind
from rtp.artefact.loaded import assemble
from rtp.artefact.query_network import NETWORKS, QueryNetwork, default_arguments
from rtp.artefact.rendering import CONTACT_SHEET, write_png, write_pt
from rtp.cli.parse_errors import Parser, user_errors
from rtp.cli.trusted_config import check_data
from rtp.datamodules import ImageDataModule
from rtp.datamodules.class_tasks import ClassTasks, split_classes
from rtp.datamodules.normalisation import ZCA
from rtp.errors import DataError, UserError
from rtp.runs.checkpoints import checkpoint_config, read_checkpoint
from rtp.version import __version__

SUFFIX = ".safetensors"
SUMMARY = "Write a checkpoint's memory as one file for any PyTorch program, or its recalled images as PNG or tensors"


def export(args: Sequence[str]) -> None:
    """Run `rtp export`.

    Args:
        args: What follows `export` on the command line.

    Raises:
        UserError: If something that the user gave is not usable.
    """
    options, data_options = _options(args)
    out = Path(options.out)
    if options.dtype != "float32" and options.format != "safetensors":
        raise UserError(f"--dtype {options.dtype} is how a .safetensors file stores a memory: leave out --format")
    suffix = {"safetensors": SUFFIX, "pt": ".pt", "png": out.suffix}[options.format]
    if out.suffix != suffix:
        raise UserError(f"{str(out)!r} is not a name of a {options.format} file: call it {out.stem}{suffix}")
    memory = opened(Path(options.source), data_options)
    if options.format == "safetensors":
        memory = memory.stored_as(options.dtype)
        memory.save(out, options.overwrite)
        print(f"wrote {out}, {out.stat().st_size:,} bytes")
    elif options.format == "png":
        write_png(memory, out, options.overwrite)
        print(f"wrote {memory.num_classes * memory.images_per_class:,} images; all classes: {out / CONTACT_SHEET}")
    else:
        write_pt(memory, out, options.overwrite)
        print(f"wrote {out}, {out.stat().st_size:,} bytes")
    print(storage_line(memory))


def storage_line(memory: DistilledMemory) -> str:
    """What a memory takes, as a line of text."""
    per = "by each image; " if memory.description.kind == "image" else "of each of "
    return (
        f"memory: {memory.storage_floats:,} numbers as {memory.description.stored_as}, {memory.storage_bytes:,} bytes, "
        f"{memory.storage_bytes / memory.num_classes:,.1f} bytes a class; "
        f"{memory.images_per_class} images {per}{memory.num_classes} classes"
    )


def opened(path: Path, data_options: Sequence[str]) -> DistilledMemory:
    """The memory of a checkpoint, whose normalisation is fitted to the data again, or of an earlier export.

    Args:
        path: A checkpoint of `rtp fit`, or a file of `rtp export`.
        data_options: Changes of the checkpoint's data set, as on the command line: `["--data.root", "elsewhere"]`.

    Raises:
        UserError: If the file is neither, the data are missing, or the memory is of the user's own class.
    """
    if path.suffix == SUFFIX:
        if data_options:
            raise UserError(f"{data_options[0]}: {path} needs no data set, leave the option out")
        return load(path)
    config = yaml.safe_load(checkpoint_config(path))
    named = any(option == "--data" or option.startswith("--data=") for option in data_options)
    if not named:  # a class that the command line names is the user's own choice
        check_data(config["data"])
    with user_errors():
        parser = jsonargparse.ArgumentParser(exit_on_error=False)
        parser.add_subclass_arguments(ImageDataModule, "data", required=named)
        if not named:
            parser.set_defaults({"data": config["data"]})
        parsed = parser.parse_args(list(data_options))
        config["data"] = yaml.safe_load(parser.dump(parsed, skip_none=False))["data"]
        data: ImageDataModule = parser.instantiate_classes(parsed).data
    data.prepare_data()
    data.setup("fit")
    return from_checkpoint(path, data, config)


def from_checkpoint(path: Path, data: ImageDataModule, config: dict[str, Any]) -> DistilledMemory:
    """The memory that a checkpoint holds, with what its data set knows.

    Args:
        path: A checkpoint of `rtp fit`.
        data: The run's data set, set up.
        config: The run's configuration: `seed_everything`, `model`, `data`, `evaluation`.

    Raises:
        UserError: If the file is no checkpoint, or its memory does not suit the data set or is of the user's own class.
    """
    checkpoint = read_checkpoint(path)
    state = {name.removeprefix("memory."): value for name, value in checkpoint["state_dict"].items()}
    found = recognised(state)
    if found is None:
        raise UserError(
            f"{path} holds {', '.join(state)}: a file holds the tensors of an AddressableMemory, a PixelMemory, an "
            "ImageAddressing or the AddressableMemories of tasks alone"
        )
    kind, tensors = found
    try:
        return assemble(_description(path, data, config, checkpoint, kind, tensors), tensors, data.normalisation)
    except (DataError, LookupError, TypeError, ArithmeticError) as error:
        reason = str(error) if isinstance(error, DataError) else f"{type(error).__name__} {error}"
        raise UserError(f"{path} does not fit the data set {data.name} ({reason}): change it with --data") from error


def _description(
    path: Path,
    data: ImageDataModule,
    config: dict[str, Any],
    checkpoint: dict[str, Any],
    kind: Kind,
    tensors: dict[str, Tensor],
) -> Description:
    evaluation, model = config["evaluation"], config["model"]["init_args"]
    augmentation = evaluation.get("augmentation") or model.get("augmentation")
    stored = tensors["images" if kind == "pixel" else "bases"]
    tasks = _tasks(model, data) if kind == "tasks" else None
    num_tasks = 1 if tasks is None else len(tasks)
    protocol = Protocol(
        networks=evaluation["networks"],
        **evaluation["protocol"],
        architecture=_call(model["network"]),
        augmentation=_call(augmentation) if augmentation else None,
    )
    return Description(
        kind=kind,
        stored_as="float32",
        image_shape=data.image_shape,
        downsampling=data.image_shape[1] // stored.shape[2],
        class_names=tuple(data.class_names),
        num_slots=len(stored) // data.num_classes if kind == "pixel" else len(tensors["addressing"]) // num_tasks,
        zca_reg=data.normalisation.reg if isinstance(data.normalisation, ZCA) else None,
        dataset=data.name,
        steps=checkpoint["global_step"],
        protocol=protocol,
        accuracies=tuple(_accuracies(path, checkpoint, evaluation, protocol, _validated_task(kind, model))),
        # a folder of one computer means nothing on another, and may say more than its owner wants to
        config={**config, "model": _without_folders(config["model"]), "data": _without_folders(config["data"])},
        rtp_version=__version__,
        query=query_network(model["memory"], tensors["addressing"]) if kind == "image" else None,
        tasks=tasks,
    )


def query_network(memory: dict[str, Any], addressing: Tensor) -> QueryNetwork:
    """The feature network of a memory that is addressed by images, as a file names it.

    Args:
        memory: The memory's part of a run's configuration.
        addressing: (r, d_y, K) the addressing matrices.

    Raises:
        UserError: If the network is not one of rtp's.
    """
    network = memory["init_args"]["feature_network"]
    module, _, name = network["class_path"].rpartition(".")
    if not module.startswith("rtp.") or name not in NETWORKS:
        raise UserError(f"the feature network is {network['class_path']}: a file holds {' or '.join(NETWORKS)} of rtp")
    arguments = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in (default_arguments(NETWORKS[name]) | (network.get("init_args") or {})).items()
    }
    return QueryNetwork(name, arguments, addressing.shape[1])


def _tasks(model: dict[str, Any], data: ImageDataModule) -> ClassTasks:
    return split_classes(data.num_classes, model["classes_per_task"], model.get("task_seed"))


def _validated_task(kind: Kind, model: dict[str, Any]) -> str | None:
    """What a validation measured, by the name that the module's evaluation has for it in a test."""
    if kind == "tasks":
        return f"{model['extrapolation']['ways'][0]}-way recalled"
    if kind == "image":
        return f"{model['few_shot']['ways']}-way {model['few_shot']['shots'][0]}-shot image addressing"
    return None


def _accuracies(
    path: Path, checkpoint: dict[str, Any], evaluation: dict[str, Any], protocol: Protocol, task: str | None
) -> Iterator[Accuracy]:
    """What is known of this checkpoint: its score where it is the best one, and the test beside it."""
    network = protocol.architecture.partition("(")[0]
    for name, state in checkpoint.get("callbacks", {}).items():
        # last.ckpt knows the best score too, but it is another memory's
        if name.startswith("BestCheckpoint") and Path(state["best_model_path"]).name == path.name:
            score = float(state["best_model_score"])
            counts = (evaluation["validation_networks"], protocol.epochs)
            yield Accuracy("validation", score, None, *counts, network, task)
    report = path.with_name("test.json")
    if report.is_file():
        try:
            test = json.loads(report.read_text(encoding="utf-8"))
            if test["checkpoint"] == path.name and test["steps"] == checkpoint["global_step"]:
                numbers = (test["accuracy_mean"], test["accuracy_std"], test["networks"], test["epochs"])
                tested = None if task is None else test["training_set"]
                yield Accuracy("test", *numbers, test["architecture"], tested)
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise UserError(f"{report} is damaged ({type(error).__name__}): repeat the test or remove it") from error


def _without_folders(part: dict[str, Any]) -> dict[str, Any]:
    folders = ("root", "experts_dir")
    arguments = {name: None if name in folders else value for name, value in part["init_args"].items()}
    if isinstance(few_shot := arguments.get("few_shot"), dict):
        arguments["few_shot"] = few_shot | {"label_memory": None}
    return {**part, "init_args": arguments}


def _call(part: dict[str, Any]) -> str:
    """A class with its arguments, for people: `ConvNet(width=32, depth=1)`."""
    arguments = ", ".join(f"{name}={value}" for name, value in (part.get("init_args") or {}).items())
    return f"{part['class_path'].rpartition('.')[2]}({arguments})"


def _options(args: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """Rtp's own options, and those of the data set."""
    parser = Parser(
        prog="rtp export",
        description=f"{SUMMARY}.",
        epilog="Options --data.NAME VALUE change the data set of the checkpoint, which its normalisation (or ZCA) is "
        "read from, such as --data.root; `rtp fit --help` lists them.",
    )
    parser.add_argument("source", metavar="CKPT", help="checkpoint of a run, or an earlier .safetensors export")
    parser.add_argument("out", metavar="OUT", help="file (.safetensors, .pt) or folder (png) to write")
    parser.add_argument(
        "--format",
        choices=("safetensors", "png", "pt"),
        default="safetensors",
        help="safetensors: everything in one file, for rtp.load; png: a folder of images for each class; "
        "pt: a dict of images and labels, for torch.load (default: %(default)s)",
    )
    parser.add_argument(
        "--dtype",
        choices=STORED_TYPES,
        default="float32",
        help="type of the numbers in a .safetensors file (default: %(default)s)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace what an earlier export wrote")
    own: list[str] = []
    data: list[str] = []
    rest = list(args)
    while rest:
        word = rest.pop(0)
        is_data = word.partition("=")[0].partition(".")[0] == "--data"
        (data if is_data else own).append(word)
        if is_data and "=" not in word and rest:
            data.append(rest.pop(0))
    return parser.parse_args(own), data
