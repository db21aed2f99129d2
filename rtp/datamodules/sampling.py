"""Splits of a labelled image set and the batches drawn from it, independent of Lightning."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Generic, Literal, TypeVar

import numpy as np
import torch
from torch import Tensor

from rtp.errors import UserError

Split = Literal["train", "test"]
Batch = TypeVar("Batch")
Description = dict[str, int | float | str | None]
"""Identifies the batches of a run in its checkpoints; the keys appear in errors."""

# neither may change, or results could not be compared
TEST_FRACTION, TEST_SEED = 0.2, 0


def stratified_split(labels: Tensor, fraction: float, seed: int) -> tuple[Tensor, Tensor]:
    """Split images into two parts that hold the same fraction of every class.

    Args:
        labels: (n,) integers.
        fraction: Part of each class in the second part, in (0, 1). The number of images is rounded, but both parts get
            at least one image of every class with two or more; the only image of a class goes to the first part.
        seed: Seed of the draw.

    Returns:
        The int64 indices of the first and of the second part, ascending.
    """
    generator = torch.Generator().manual_seed(seed)
    in_second = torch.zeros(len(labels), dtype=torch.bool)
    for label in torch.unique(labels):
        members = (labels == label).nonzero().squeeze(1)
        count = min(max(1, round(fraction * len(members))), len(members) - 1)
        in_second[members[torch.randperm(len(members), generator=generator)[:count]]] = True
    return (~in_second).nonzero().squeeze(1), in_second.nonzero().squeeze(1)


def fixed_part(labels: Tensor, split: Split) -> Tensor:
    """The indices of the training or test part of images with labels (n,), ascending; the split is always the same."""
    return stratified_split(labels, TEST_FRACTION, TEST_SEED)[0 if split == "train" else 1]


def other_batches(what: str, before: Description, now: Description, names: Iterable[str]) -> UserError:
    """The error for a run that would be resumed with other batches; `names` are the entries to show."""
    a, b = (", ".join(f"{name} {entries[name]}" for name in names if name in entries) for entries in (before, now))
    return UserError(f"the run was started with {what} of {a}, not of {b}: continue it with its own config.yaml")


class Batches(Generic[Batch]):
    """A fixed sequence of batches as one data loader; Lightning takes a plain list for several loaders.

    Args:
        batches: The batches.
        prepare: Maps each batch as it is drawn, for example from bytes to normalised floats; None leaves them.
    """

    def __init__(self, batches: Sequence[Batch], prepare: Callable[[Batch], Batch] | None = None) -> None:
        self._batches = batches
        self._prepare = prepare

    def __iter__(self) -> Iterator[Batch]:
        return iter(self._batches) if self._prepare is None else map(self._prepare, self._batches)

    def __len__(self) -> int:
        return len(self._batches)


class OuterBatches:
    """Class-balanced batches of real images, one for each outer step (algorithm 1, lines 4 and 14).

    Batch number `step` depends only on `seed`, `step` and `rank`, so a resumed run needs only the number of its next
    batch. A new iteration continues after the last batch drawn.

    Args:
        images: Real images, (n, C, H, W), on any device.
        labels: (n,) int64 on the same device; every class from 0 to the largest label occurs.
        images_per_class: Images of each sampled class in a batch (m), at least 1; drawn without replacement, or with
            replacement from a class with fewer images.
        classes_per_step: Classes in a batch (k), drawn without replacement; None takes all.
        seed: Seed of the draws, at least 0.
        length: Number of the batch to stop before; None for endless batches.
        start: Number of the first batch.
        rank: Rank of the process; each draws its own batches.
        class_groups: G class sets that take turns: in every process, batch number `step` is drawn from group
            `step mod G`; None for one group of all classes.
        subset: Indices (m,) of the images to draw from, on the CPU; None draws from all.
        prepare: Maps the images of a batch, for example from bytes to normalised floats; None leaves them.

    Raises:
        UserError: If `classes_per_step` is not between 1 and the number of classes (of the smallest group).
    """

    def __init__(
        self,
        images: Tensor,
        labels: Tensor,
        images_per_class: int,
        classes_per_step: int | None,
        seed: int,
        length: int | None = None,
        start: int = 0,
        rank: int = 0,
        class_groups: Sequence[Sequence[int]] | None = None,
        subset: Tensor | None = None,
        prepare: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        self._images = images
        self._labels = labels
        self._prepare = prepare
        self._images_per_class = images_per_class
        self._seed = seed
        self._length = length
        self._step = start
        self._rank = rank
        chosen = np.arange(len(labels)) if subset is None else subset.numpy()
        self._size = len(chosen)
        classes = labels.cpu().numpy()[chosen]
        self._members = [chosen[np.flatnonzero(classes == label)] for label in range(classes.max() + 1)]
        self._groups = [np.array(group) for group in class_groups or [range(len(self._members))]]
        most = min(map(len, self._groups))
        self._classes_per_step = most if classes_per_step is None else classes_per_step
        if not 1 <= self._classes_per_step <= most:
            what = "the data have" if class_groups is None else "a task has"
            raise UserError(
                f"classes_per_step is {classes_per_step}, but {what} {most} classes: choose a number from 1 to {most}."
            )

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """Draw batch number `step` >= 0: images (k * m, C, H, W) and labels (k * m,), classes in ascending order."""
        # NumPy mixes the numbers into its 128-bit state; torch's CPU generator would keep 32 bits of a seed.
        generator = np.random.default_rng([self._seed, step, self._rank])
        group = self._groups[step % len(self._groups)]
        classes = np.sort(generator.choice(group, self._classes_per_step, replace=False))
        m = self._images_per_class
        chosen = (self._members[label] for label in classes)
        drawn = [generator.choice(members, m, replace=len(members) < m) for members in chosen]
        index = torch.from_numpy(np.concatenate(drawn)).to(self._images.device)
        images = self._images.index_select(0, index)
        return images if self._prepare is None else self._prepare(images), self._labels.index_select(0, index)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        while self._length is None or self._step < self._length:
            self._step += 1
            yield self.batch(self._step - 1)

    def __len__(self) -> int:
        """Number of batches of the whole run: Lightning counts those before `start` as fetched."""
        if self._length is None:
            raise TypeError("These batches never end: there is no length.")
        return self._length

    def state_dict(self) -> Description:
        """The seed and number of images, for Lightning's checkpoint.

        Not the number of the next batch: Lightning prefetches one of endless batches, so only it knows what was used.
        """
        return {"seed": self._seed, "images": self._size}

    def load_state_dict(self, state: Description) -> None:
        """Raise UserError if `state` has another seed or number of images."""
        if state != (here := self.state_dict()):
            raise other_batches("data", state, here, here)
