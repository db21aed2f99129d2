"""The batches of a stream: a single pass over a stream task, and its samples for evaluation."""

from collections.abc import Callable, Iterator
from functools import cache
from typing import Literal, NamedTuple

from torch import Tensor

from rtp.datamodules.base import LabelledImages
from rtp.datamodules.sampling import Description, other_batches

StreamSplit = Literal["train", "val", "test"]
SPLITS: tuple[StreamSplit, ...] = ("train", "val", "test")


class StreamBatch(NamedTuple):
    """A minibatch of the stream.

    Attributes:
        images: (b, C, H, W) float32, normalised.
        labels: (b,) int64 in 0..num_classes-1, the columns of the task's own head.
        task: Number of the task, from 0.
        replay: How often the minibatch has just been yielded before: 0 the first time.
        last: Whether the task ends with this minibatch.
    """

    images: Tensor
    labels: Tensor
    task: int
    replay: int
    last: bool


class StreamBatches:
    """The minibatches of one task in a single pass, each `replays` times in a row.

    A new iteration continues after the last minibatch yielded.

    Args:
        load: Reads the task's samples, in the order of the stream.
        task: Number of the task.
        samples: Number of samples of the task.
        batch_size: Samples in a minibatch.
        replays: How often in a row a minibatch is yielded.
        description: Identifies the stream in checkpoints.
        start: Minibatches, replays included, that a resumed run has seen.
    """

    def __init__(
        self,
        load: Callable[[], LabelledImages],
        task: int,
        *,
        samples: int,
        batch_size: int,
        replays: int,
        description: Description,
        start: int = 0,
    ) -> None:
        self._load = cache(load)
        self._task = task
        self._batch_size = batch_size
        self._replays = replays
        self._description = description
        self._next = start
        self._length = -(-samples // batch_size) * replays

    def __len__(self) -> int:
        """Minibatches of the whole task, replays included: Lightning counts those before `start` as fetched."""
        return self._length

    def __iter__(self) -> Iterator[StreamBatch]:
        while self._next < len(self):
            number, replay = divmod(self._next, self._replays)
            chosen = slice(number * self._batch_size, (number + 1) * self._batch_size)
            self._next += 1
            images, labels = self._load()
            yield StreamBatch(images[chosen], labels[chosen], self._task, replay, self._next == len(self))

    def state_dict(self) -> Description:
        """The stream's description, for Lightning's checkpoint."""
        return self._description

    def load_state_dict(self, state: Description) -> None:
        """Raise UserError if `state` describes another stream."""
        if other := [name for name, value in state.items() if self._description.get(name) != value]:
            raise other_batches("a stream", state, self._description, other)


class TaskBatches:
    """`samples` samples of one task in order; `load` reads them lazily, as 100 tasks may not fit in memory."""

    def __init__(self, load: Callable[[], LabelledImages], samples: int, batch_size: int) -> None:
        self._load = load
        self._batch_size = batch_size
        self._length = -(-samples // batch_size)

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[LabelledImages]:
        images, labels = self._load()
        yield from zip(images.split(self._batch_size), labels.split(self._batch_size), strict=True)
