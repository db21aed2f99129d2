"""The batches of a stream: a single pass over a task, and a task's samples for evaluation."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal, NamedTuple

from torch import Tensor

from rtp.datamodules.base import LabelledImages
from rtp.errors import UserError

if TYPE_CHECKING:
    from rtp.datamodules.streams.base import TaskStream

StreamSplit = Literal["train", "val", "test"]
Description = dict[str, int | float | str | None]
"""What tells a stream from others, under the names that an error gives them."""
SPLITS: tuple[StreamSplit, ...] = ("train", "val", "test")


class StreamBatch(NamedTuple):
    """A minibatch of the stream.

    Attributes:
        images: (b, C, H, W) float32, normalised.
        labels: (b,) int64 in 0..num_classes-1, the columns of the task's own head.
        task: Number of the task, from 0.
        replay: How often the minibatch has been handed out before, all of them in a row: 0 the first time.
        last: Whether the task ends with this minibatch.
    """

    images: Tensor
    labels: Tensor
    task: int
    replay: int
    last: bool


class StreamBatches:
    """The minibatches of one task in a single pass, each of them `replays` times in a row.

    Iterating goes on where the last iteration stopped: nothing is handed out again.

    Args:
        stream: The stream.
        task: Number of the task.
        start: Minibatches, replays included, that a continued run has had.
    """

    def __init__(self, stream: "TaskStream", task: int, start: int = 0) -> None:
        self._stream = stream
        self._task = task
        self._next = start
        self._length = -(-stream.num_samples(task, "train") // stream.batch_size) * stream.replays
        self._set: LabelledImages | None = None

    def __len__(self) -> int:
        """Minibatches of the whole task, replays included: Lightning counts those before `start` as fetched."""
        return self._length

    def __iter__(self) -> Iterator[StreamBatch]:
        while self._next < len(self):
            if self._set is None:
                self._set = self._stream.task_set(self._task, "train")
            number, replay = divmod(self._next, self._stream.replays)
            chosen = slice(number * self._stream.batch_size, (number + 1) * self._stream.batch_size)
            self._next += 1
            images, labels = self._set
            yield StreamBatch(images[chosen], labels[chosen], self._task, replay, self._next == len(self))

    def state_dict(self) -> Description:
        """What tells the stream from others, for Lightning's checkpoint."""
        return self._stream.description()

    def load_state_dict(self, state: Description) -> None:
        """Check that a run is continued with its own stream.

        Args:
            state: What `state_dict` returned; an older version's says less, and no more is compared then.

        Raises:
            UserError: If it was another one.
        """
        here = self.state_dict()
        if other := [name for name, value in state.items() if here.get(name) != value]:
            raise UserError(
                f"the run was started with a stream of {_listed(state, other)}, not of {_listed(here, other)}: "
                "continue it with its own config.yaml"
            )


class TaskBatches:
    """The samples of one task in order; they are made when they are asked for, as 100 tasks may not fit in memory.

    Args:
        stream: The stream.
        task: Number of the task.
        split: Validation or test.
    """

    def __init__(self, stream: "TaskStream", task: int, split: StreamSplit) -> None:
        self._stream = stream
        self._task = task
        self._split = split

    def __len__(self) -> int:
        """Number of batches."""
        return -(-self._stream.num_samples(self._task, self._split) // self._stream.source.batch_size)

    def __iter__(self) -> Iterator[LabelledImages]:
        images, labels = self._stream.task_set(self._task, self._split)
        size = self._stream.source.batch_size
        yield from zip(images.split(size), labels.split(size), strict=True)


def _listed(state: Description, names: list[str]) -> str:
    return ", ".join(f"{name} {state[name]}" for name in names if name in state)
