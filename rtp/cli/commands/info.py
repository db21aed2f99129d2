"""`rtp info`: describe a memory file or a checkpoint."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from rtp.artefact import DistilledMemory, load
from rtp.artefact.card import in_words
from rtp.artefact.hub import memory_path
from rtp.artefact.layout import task_name, trained_format
from rtp.cli.commands.parser import Parser
from rtp.errors import UserError
from rtp.modules.memories.number_formats import stored_bits
from rtp.runs.checkpoints import BEST, LAST, checkpoint_config, flat_settings, load_checkpoint
from rtp.utils.tables import printable

SUFFIX = ".safetensors"
SHOWN_CLASSES = 20
"""Most class names that are listed; the others are counted."""


def info(args: Sequence[str]) -> None:
    """Run `rtp info` with the arguments after `info`; UserError if the file is missing, damaged or neither."""
    parser = Parser(prog="rtp info", description="Describe a memory's file or a checkpoint.")
    parser.add_argument("file", metavar="FILE", help=f"{SUFFIX} file, name of `rtp list memories`, or checkpoint")
    path = memory_path(parser.parse_args(args).file)
    if path.is_dir():  # of a run
        path = next((path / name for name in (BEST, LAST) if (path / name).is_file()), path)
        if path.is_dir():
            raise UserError(f"the folder {path} has no {BEST}: give a file of `rtp export` or a checkpoint")
    lines = _of_memory(load(path)) if path.suffix == SUFFIX else _of_checkpoint(path)
    for line in lines:
        print(printable(line))


def storage_line(memory: DistilledMemory) -> str:
    """The storage of a memory, as a line of text."""
    per = "by each image; " if memory.description.kind == "image" else "of each of "
    classes = f"{memory.num_classes} classes"
    if memory.description.stream is not None and memory.tasks:
        classes = f"{len(memory.tasks[0])} classes of {len(memory.tasks)} tasks"
    return (
        f"memory: {memory.storage_floats:,} numbers as {memory.description.stored_as}, {memory.storage_bytes:,} bytes, "
        f"{memory.bits_per_class:,.0f} bits a class; "
        f"{memory.images_per_class} images {per}{classes}"
    )


def _of_memory(memory: DistilledMemory) -> Iterator[str]:
    description, protocol = memory.description, memory.protocol
    yield f"{description.kind} memory of {description.dataset}, {description.steps:,} steps, rtp {memory.rtp_version}"
    yield storage_line(memory)
    bases = "x".join(map(str, memory.memory.bases.shape[1:]))
    yield f"images: {'x'.join(map(str, memory.image_shape))}, from {len(memory.memory.bases)} bases of {bases}"
    if description.query is not None:
        yield f"queries: {description.query.query_dim} numbers that {description.query} makes of an image"
    if description.tasks is not None:
        yield f"tasks: {len(description.tasks)} of {len(description.tasks[0])} classes, learned apart"
    if description.stream is not None:
        yield f"stream: {in_words(description.stream)}"
    how = "each channel standardised" if description.zca_reg is None else f"ZCA, regularisation {description.zca_reg:g}"
    yield f"preprocessing: {how}, {memory.normalisation_bytes:,} bytes beside the memory"
    names, in_each = memory.class_names, ""
    of_tasks = {tuple(memory.class_names[label] for label in task) for task in memory.tasks}
    if description.stream is not None and len(of_tasks) == 1:
        (names,), in_each = of_tasks, ", in each task"
    more = f" and {len(names) - SHOWN_CLASSES} more" if len(names) > SHOWN_CLASSES else ""
    yield f"classes: {', '.join(names[:SHOWN_CLASSES])}{more}{in_each}"
    drop = "" if protocol.drop_after == 1 else f", a tenth of it after {100 * protocol.drop_after:g} % of the epochs"
    decay = f", weight decay {protocol.weight_decay:g}" if protocol.weight_decay else ""
    yield (
        f"protocol: {protocol.networks} x {protocol.architecture}, {protocol.epochs} epochs, batches of at most "
        f"{protocol.batch_size}, SGD with learning rate {protocol.learning_rate:g}{drop}, "
        f"momentum {protocol.momentum:g}{decay}, augmentation {protocol.augmentation or 'none'}"
    )
    by_task = {task_name(number) for number in range(len(memory.tasks))}
    for accuracy in memory.accuracies:
        if accuracy.task in by_task:
            continue
        spread = "" if accuracy.std is None else f" +- {100 * accuracy.std:.2f}"
        task = "" if accuracy.task is None else f" of {accuracy.task}"
        yield (
            f"{accuracy.split} accuracy{task}: {100 * accuracy.mean:.2f}{spread} % "
            f"({accuracy.networks} x {accuracy.architecture}, {accuracy.epochs} epochs, memory in "
            f"{description.trained_as})"
        )
    for split in ("validation", "test"):
        means = [f"{100 * a.mean:.2f}" for a in memory.accuracies if a.split == split and a.task in by_task]
        if means:
            yield f"{split} accuracy of each task: {', '.join(means)} %"


def _of_checkpoint(path: Path) -> Iterator[str]:
    from rtp.artefact.from_stream import FINISHED, finished_memories  # takes seconds, which a memory's file needs not

    checkpoint = load_checkpoint(path)
    config = checkpoint_config(path, checkpoint)
    tensors = checkpoint["state_dict"]
    yield f"checkpoint of rtp fit, step {checkpoint['global_step']:,}"
    if FINISHED in tensors:  # a stream's: beside memories there are raw samples, networks, and a memory being learned
        tensors = finished_memories(tensors)
        tasks = {name.partition(".")[0] for name in tensors}
        yield f"memories of {len(tasks)} finished tasks" if tasks else "no memories of finished tasks"
    numbers = sum(tensor.numel() for tensor in tensors.values())
    shapes = ", ".join(f"{name} {'x'.join(map(str, tensor.shape))}" for name, tensor in tensors.items())
    stored_as = trained_format(config)
    stored = -(-sum(stored_bits(tensor.shape, stored_as) for tensor in tensors.values()) // 8)
    if tensors:
        yield f"memory: {numbers:,} numbers, {stored:,} bytes in {stored_as}: {shapes}"
    for name, value in flat_settings(config).items():
        yield f"{name}: {value}"
