"""`rtp export`: a checkpoint's memory as a file that needs neither the checkpoint nor the data."""

import argparse
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from rtp.artefact import DistilledMemory, load
from rtp.artefact.hub import memory_path
from rtp.artefact.rendering import CONTACT_SHEET, write_ddranking, write_folders, write_parquet, write_pt
from rtp.cli.commands.info import SUFFIX, storage_line
from rtp.cli.commands.parser import Parser
from rtp.errors import UserError
from rtp.modules.memories.number_formats import STORED_TYPES

WRITERS = {"folder": write_folders, "parquet": write_parquet, "pt": write_pt, "ddranking": write_ddranking}
"""Of each format but safetensors."""
SUFFIXES = {"safetensors": SUFFIX, "parquet": ".parquet", "pt": ".pt"}
"""Of the formats that are files."""
SUMMARY = "Write a checkpoint's memory as one file for any PyTorch program, or its recalled images as files"


def export(args: Sequence[str]) -> None:
    """Run `rtp export` with the arguments after `export`; UserError if one cannot be used."""
    options, data_options = _options(args)
    out = Path(options.out)
    if options.dtype is not None and options.format != "safetensors":
        raise UserError(f"--dtype {options.dtype} is how a .safetensors file stores a memory: leave out --format")
    suffix = SUFFIXES.get(options.format, out.suffix)
    if out.suffix != suffix:
        raise UserError(f"{str(out)!r} is not a name of a {options.format} file: call it {out.stem}{suffix}")
    memory = load_memory(memory_path(options.source), data_options)
    if options.task is not None:
        memory = memory.task(options.task)
    elif memory.description.stream is not None and memory.tasks and options.format != "safetensors":
        raise UserError(
            f"--format {options.format} is for one memory, and there are {len(memory.tasks)}, one of each task: choose "
            f"one with --task, from 0 to {len(memory.tasks) - 1}"
        )
    if options.format == "safetensors":
        memory = memory if options.dtype is None else memory.stored_as(options.dtype)
        memory.save(out, options.overwrite)
    else:
        WRITERS[options.format](memory, out, options.overwrite)
    if out.is_dir():
        sheet = f"; all classes: {out / CONTACT_SHEET}" if options.format == "folder" else ""
        print(f"wrote {memory.num_classes * memory.images_per_class:,} images into {out}{sheet}")
    else:
        print(f"wrote {out}, {out.stat().st_size:,} bytes")
    print(storage_line(memory))


def load_memory(path: Path, data_options: Sequence[str]) -> DistilledMemory:
    """The memory in a checkpoint, whose normalisation is fitted to the data again, or in an earlier export.

    The checkpoint of a stream has a memory for each finished task, see `DistilledMemory.task`.

    Args:
        path: A checkpoint of `rtp fit`, or a file of `rtp export`.
        data_options: Changes of the checkpoint's data set, as on the command line: `["--data.root", "elsewhere"]`.

    Raises:
        UserError: If the file is neither, the data are missing, the memory is of the user's own class, or a stream's
            learner stores no memories or has not finished a task.
    """
    if path.suffix == SUFFIX:
        if data_options:
            raise UserError(f"{data_options[0]}: {path} needs no data set, leave the option out")
        return load(path)
    # Lightning and the rest take seconds, and a memory's file needs none of it
    import jsonargparse
    import yaml

    from rtp.artefact.from_checkpoint import from_checkpoint
    from rtp.artefact.from_stream import from_stream, is_of_stream
    from rtp.cli.parse_errors import user_errors
    from rtp.cli.trusted_config import check_data
    from rtp.datamodules import ImageDataModule, TaskStream
    from rtp.runs.checkpoints import checkpoint_config, load_checkpoint

    checkpoint = load_checkpoint(path)
    config = checkpoint_config(path, checkpoint)
    streaming = is_of_stream(checkpoint)
    base: Any = TaskStream if streaming else ImageDataModule
    named = any(option == "--data" or option.startswith("--data=") for option in data_options)
    if not named:  # a class named on the command line is the user's own choice
        check_data(config["data"])
    with user_errors():
        parser = jsonargparse.ArgumentParser(exit_on_error=False)
        parser.add_subclass_arguments(base, "data", required=named)
        if not named:
            parser.set_defaults({"data": config["data"]})
        parsed = parser.parse_args(list(data_options))
        config["data"] = yaml.safe_load(parser.dump(parsed, skip_none=False))["data"]
        data = parser.instantiate_classes(parsed).data
    data.prepare_data()
    data.setup("fit")
    return (from_stream if streaming else from_checkpoint)(path, checkpoint, data, config)


def _options(args: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """The command's own options, parsed, and those of the data set."""
    parser = Parser(
        prog="rtp export",
        description=f"{SUMMARY}.",
        epilog="Options --data.NAME VALUE change the data set of the checkpoint, which its normalisation (or ZCA) is "
        "read from, such as --data.root; `rtp fit --help` lists them.",
    )
    parser.add_argument("source", metavar="SOURCE", help="checkpoint, memory file, or name in `rtp list memories`")
    parser.add_argument("out", metavar="OUT", help="file (.safetensors, .parquet, .pt) or folder to write")
    parser.add_argument(
        "--format",
        choices=("safetensors", *WRITERS),
        default="safetensors",
        help="safetensors: everything in one file, for rtp.load; folder: PNG files by class, for torchvision's "
        "ImageFolder; parquet: for datasets.load_dataset; pt: a dict of images and labels, for torch.load; "
        "ddranking: a folder that DD-Ranking scores (default: %(default)s)",
    )
    parser.add_argument(
        "--task", type=int, help="number of a task, from 0: write its memory alone (default: one file of all tasks)"
    )
    parser.add_argument(
        "--dtype",
        choices=STORED_TYPES,
        help="format of the numbers in a .safetensors file (default: the one that the memory was trained in)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace what an earlier export wrote")
    own, data = split_data_options(args)
    return parser.parse_args(own), data


def split_data_options(args: Sequence[str]) -> tuple[list[str], list[str]]:
    """A command's own arguments, and those of the data set, `--data` and `--data.NAME` with their values."""
    own: list[str] = []
    data: list[str] = []
    words = iter(args)
    for word in words:
        if word.partition("=")[0].partition(".")[0] != "--data":
            own.append(word)
        else:  # with its value, the next word unless given by "="
            data += [word] if "=" in word else [word, *islice(words, 1)]
    return own, data
