"""The description in a memory file: a checked record, and its JSON in the file's header."""

import json
import math
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from rtp.artefact.entries import read_record, shown
from rtp.artefact.query_network import QueryNetwork
from rtp.errors import DataError, UserError
from rtp.modules.memories.number_formats import STORED_TYPES, StoredType

FORMAT = "rtp.memory"
FORMAT_VERSION = 1
"""To raise when readers of this version would misunderstand a file; new entries alone are no reason."""

MAX_RECALLED = 2**30
"""Most numbers of all recalled images together, 4 GiB in float32: five times `configs/tiny_imagenet_ipc1.yaml`."""
MAX_SIDE = 2**14
"""Largest height and width of an image in pixels."""

Kind = Literal["addressable", "pixel", "image", "tasks"]


@dataclass(frozen=True)
class Protocol:
    """How networks are trained with SGD on the recalled images for an evaluation.

    Attributes:
        networks: Networks that a test trains, each from new random weights.
        epochs: Passes over the recalled images.
        batch_size: Largest number of images in a minibatch.
        architecture: The network with its arguments, such as "ConvNet(width=32, depth=1)".
        augmentation: Of the images of a minibatch, such as "FlipOrRotate(max_degrees=15.0)", or None.
        drop_after: Fraction of the epochs after which the learning rate drops to a tenth; 1 keeps it.
    """

    networks: int
    epochs: int
    batch_size: int
    learning_rate: float
    momentum: float
    architecture: str
    augmentation: str | None
    weight_decay: float = 0.0
    drop_after: float = 1.0


@dataclass(frozen=True)
class Accuracy:
    """Accuracy of networks trained on the recalled images, measured before the memory was stored.

    Attributes:
        split: The real images of the measurement.
        mean: Fraction of images classified correctly, mean over the networks.
        std: Standard deviation over the networks, None if unknown.
        epochs: Epochs of each network.
        architecture: The networks' class.
        task: The evaluation task, such as "5-way recalled", or `task_name` of one of a stream; None for all classes and
            all recalled images.
    """

    split: Literal["validation", "test"]
    mean: float
    std: float | None
    networks: int
    epochs: int
    architecture: str
    task: str | None = None


def task_name(number: int) -> str:
    """What an accuracy on one task of a stream says of it."""
    return f"task {number}"


@dataclass(frozen=True)
class Stream:
    """The stream of tasks that memories were learned from: all that its `TaskStream` needs to be built again.

    Attributes:
        kind: "permuted", "rotated", "incremental", or the word of a stream of one's own.
        source: Name of the data set whose images the tasks are made of.
        seed: Seed of the tasks; a task's transformation follows from it, `kind`, `tasks`, `arguments` and its number.
        tasks: Tasks of the whole stream, of which the first are finished and have a memory in the file.
        samples: Training samples of each finished task.
        steps: Outer steps of each finished task.
        arguments: What else identifies the stream, such as `max_angle` in degrees, `batch_size` and `replays`.
        task: Number of the one task, from 0, whose memory this is; None for those of all finished tasks.

    Raises:
        DataError: If the numbers contradict each other.
    """

    kind: str
    source: str
    seed: int
    tasks: int
    samples: tuple[int, ...]
    steps: tuple[int, ...]
    arguments: dict[str, Any]
    task: int | None = None

    def __post_init__(self) -> None:
        """Raise DataError if the stream has fewer tasks than are told of."""
        there = len(self.steps) if self.task is None else self.task + 1
        if len(self.samples) != len(self.steps) or there > self.tasks:
            raise DataError(f"a stream of {self.tasks} tasks does not go with its entries samples, steps and task")

    def of_task(self, number: int) -> "Stream":
        """What is said beside the memory of one finished task alone."""
        return replace(self, samples=(self.samples[number],), steps=(self.steps[number],), task=number)


@dataclass(frozen=True)
class Description:
    """Everything in a memory file but its tensors.

    Attributes:
        kind: "addressable" (bases and addressing matrices), "pixel" (one image a slot), "image" (bases, addressing
            matrices and the network that makes queries of images) or "tasks" (bases and matrices of each of several
            disjoint sets of classes).
        stored_as: Format of the numbers in the file.
        image_shape: (C, H, W) of a recalled image, C 1 or 3.
        downsampling: Factor by which stored images are smaller in height and width.
        class_names: Names of the classes, in the order of the labels; any text.
        num_slots: Images recalled for each class, or by each image.
        zca_reg: Regularisation of ZCA, None if each channel is standardised instead.
        steps: Outer steps that the memory was trained for.
        accuracies: Measured on the memory as `trained_as`, before it was stored as `stored_as`.
        config: The seed, model, data and evaluation of the run, as in its `config.yaml`, without folders.
        rtp_version: Version of rtp that wrote the file.
        query: The network that makes queries; only of the kind "image".
        tasks: The classes of each task, the same number in each, together all classes; only of the kind "tasks". Tasks
            of a stream have k classes each: task t owns the labels t * k to t * k + k - 1, named as in the task.
        stream: Where the tasks come from, if it was a stream.
    """

    kind: Kind
    stored_as: StoredType
    image_shape: tuple[int, int, int]
    downsampling: int
    class_names: tuple[str, ...]
    num_slots: int
    zca_reg: float | None
    dataset: str
    steps: int
    protocol: Protocol
    accuracies: tuple[Accuracy, ...]
    config: dict[str, Any]
    rtp_version: str
    query: QueryNetwork | None = None
    tasks: tuple[tuple[int, ...], ...] | None = None
    stream: Stream | None = None

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def basis_shape(self) -> tuple[int, int, int]:
        """(C, h, w) of what is stored."""
        channels, height, width = self.image_shape
        return channels, height // self.downsampling, width // self.downsampling

    @property
    def trained_as(self) -> StoredType:
        """Format that the memory was trained and measured in."""
        return trained_format(self.config)

    def of_task(self, number: int) -> "Description":
        """The description of one task's memory alone, which is of the kind "addressable" with labels 0..k-1.

        Raises:
            UserError: If there are no tasks, or none of this number.
        """
        if self.tasks is None:
            raise UserError("this is the memory of one task: there are no others to choose from")
        if not 0 <= number < len(self.tasks):
            raise UserError(f"there is no memory of task {number}: choose one from 0 to {len(self.tasks) - 1}")
        apart = (self.steps - number + len(self.tasks) - 1) // len(self.tasks)  # the tasks took turns
        return replace(
            self,
            kind="addressable",
            class_names=tuple(self.class_names[label] for label in self.tasks[number]),
            steps=apart if self.stream is None else self.stream.steps[number],
            accuracies=tuple(replace(a, task=None) for a in self.accuracies if a.task == task_name(number)),
            tasks=None,
            stream=None if self.stream is None else self.stream.of_task(number),
        )

    def __post_init__(self) -> None:
        """Raise DataError if a size is out of its range or two entries contradict each other."""
        channels, height, width = self.image_shape
        if channels not in (1, 3) or not 1 <= height <= MAX_SIDE or not 1 <= width <= MAX_SIDE:
            raise DataError(f"image_shape is {self.image_shape}, not 1 or 3 channels of 1 to {MAX_SIDE} pixels a side")
        if self.downsampling < 1 or height % self.downsampling or width % self.downsampling:
            raise DataError(f"downsampling is {self.downsampling}, which does not divide {height}x{width} pixels")
        if not self.class_names or self.num_slots < 1:
            raise DataError(f"{len(self.class_names)} classes of {self.num_slots} images recall nothing")
        recalled = len(self.class_names) * self.num_slots * math.prod(self.image_shape)
        if recalled > MAX_RECALLED:
            raise DataError(f"the recalled images are {recalled:,} numbers, more than {MAX_RECALLED:,}")
        if self.zca_reg is not None and not self.zca_reg > 0:
            raise DataError(f"zca_reg is {self.zca_reg}, but must be positive")
        if (self.query is None) == (self.kind == "image") or (self.tasks is None) == (self.kind == "tasks"):
            raise DataError(f"a memory of the kind {self.kind!r} does not go with its entries query and tasks")
        if self.tasks is not None:
            every = sorted(label for task in self.tasks for label in task)
            if every != list(range(len(self.class_names))) or len(set(map(len, self.tasks))) != 1:
                raise DataError(f"the tasks do not split {len(self.class_names)} classes into parts of one size")
        if self.stream is not None:
            memories = 1 if self.tasks is None else len(self.tasks)
            if (self.stream.task is None) != (self.kind == "tasks") or len(self.stream.steps) != memories:
                raise DataError(f"a memory of the kind {self.kind!r} does not go with its entries stream and tasks")


def trained_format(config: dict[str, Any]) -> StoredType:
    """The format that a run's configuration trains a memory in; "float32" if it says nothing that is known."""
    part: Any = config
    for name in ("model", "init_args", "memory", "init_args", "stored_as"):
        part = part.get(name) if isinstance(part, dict) else None
    return next((known for known in STORED_TYPES if known == part), "float32")


def to_json(description: Description) -> str:
    """Write a description as one line of ASCII JSON."""
    content = {"format": FORMAT, "version": FORMAT_VERSION} | asdict(description)
    if description.stream is None:  # files that are no stream's stay as they were before streams had any
        del content["stream"]
    return json.dumps(_plain(content), ensure_ascii=True, allow_nan=False)


def from_json(text: str) -> Description:
    """Read a description, trusting nothing in it.

    Raises:
        DataError: If an entry is missing, of another type or out of its range, or if another version is needed.
    """
    try:
        content = json.loads(text, parse_constant=int)  # int refuses NaN and Infinity, which JSON does not have
    except (ValueError, RecursionError) as error:  # ValueError: no JSON, NaN, an integer of thousands of digits
        raise DataError(f"its description is not JSON ({type(error).__name__})") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise DataError("it is no memory of rtp")
    if content.get("version") != FORMAT_VERSION:
        raise DataError(
            f"it has version {shown(content.get('version'))} of the format, and this rtp reads {FORMAT_VERSION}: "
            "use the rtp that wrote it"
        )
    return read_record(Description, {"stream": None} | content)


def _plain(value: Any) -> Any:
    # what YAML can say and JSON cannot, in a configuration: dates, infinite numbers
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    known = value is None or isinstance(value, (bool, int, str)) or (isinstance(value, float) and math.isfinite(value))
    return value if known else str(value)
