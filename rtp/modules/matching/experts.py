"""Expert trajectories: networks trained on real images, with their weights after every epoch, in a folder.

Cazenavette et al., "Dataset Distillation by Matching Training Trajectories" (MTT), CVPR 2022.
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from rtp.errors import DataError, UserError
from rtp.modules.augmentations.base import Augmentation
from rtp.modules.networks.training import Trainee, TrainingProtocol, isolated_rng, train_networks
from rtp.utils.files import cache_dir, locked, new_file

KEY = "rtp_expert"
"""Metadata entry of an expert's file: what it was made of."""
TENSOR = "weights"
"""The only tensor of an expert's file: (epochs + 1, P), row e the weights after e epochs."""
HASHED_AT_ONCE = 4096
"""Images copied from a GPU at once for the fingerprint: 4096 CIFAR images are 50 MB."""


@dataclass(frozen=True)
class ExpertBuffer:
    """A folder with a file for each expert, numbered from 0; only the requested weights are read.

    Writes are atomic and experts independent: a killed preparation continues with the first expert that has no file,
    and a larger buffer begins with the experts of a smaller one.

    Attributes:
        folder: Where the files are.
        made_of: What an expert follows from, see `made_of`; a file of anything else is refused.
        epochs: Epochs that every expert is trained for.
    """

    folder: Path
    made_of: dict[str, str]
    epochs: int

    def path(self, number: int) -> Path:
        """The file of an expert."""
        return self.folder / f"expert_{number:04d}.safetensors"

    def holds(self, number: int) -> bool:
        """Whether an expert has a file.

        Raises:
            DataError: If the file is damaged.
            UserError: If it is an expert of something else.
        """
        path = self.path(number)
        if not path.exists():
            return False
        try:
            with safe_open(path, framework="pt") as file:
                theirs = dict(json.loads((file.metadata() or {})[KEY]))
                rows = file.get_slice(TENSOR).get_shape()[0]
        except (SafetensorError, OSError, LookupError, ValueError, TypeError) as error:
            raise _damaged(path) from error
        if others := [key for key, value in self.made_of.items() if theirs.get(key) != value]:
            first = others[0]
            raise UserError(
                f"{str(path)!r} is an expert of other things: {', '.join(others)} "
                f"({first} {_short(theirs.get(first))}, not {_short(self.made_of[first])}): choose another experts_dir"
            )
        if rows != self.epochs + 1:
            raise _damaged(path)
        return True

    @contextmanager
    def claimed(self, number: int, wait: bool) -> Iterator[bool]:
        """Claim the training of an expert; `wait` blocks until no other run, with the same buffer, trains it.

        Yields:
            Whether no other run trains it. It may have been stored since `holds` was asked.
        """
        lock = self.path(number).with_suffix(".lock")
        with locked(lock, wait) as free:
            yield free
            if free and self.path(number).exists():
                lock.unlink(missing_ok=True)  # whoever claims it from now on finds the expert

    def store(self, number: int, weights: Tensor) -> None:
        """Write an expert's weights (epochs + 1, P), see `train_expert`, atomically.

        Raises:
            UserError: If the file cannot be written.
        """
        # another machine with a copy of the folder may have written it: the content is the same
        with new_file(self.path(number), overwrite=self.holds(number)) as file:
            file.write(save({TENSOR: weights.contiguous()}, {KEY: json.dumps(self.made_of)}))

    def weights(self, number: int, epochs: tuple[int, ...]) -> tuple[Tensor, ...]:
        """Read an expert's weights after each of these numbers of epochs, (P,) on the CPU, and nothing else.

        Raises:
            DataError: If the file is missing or damaged.
        """
        path = self.path(number)
        try:
            with safe_open(path, framework="pt") as file:
                rows = file.get_slice(TENSOR)
                return tuple(rows[epoch] for epoch in epochs)
        except (SafetensorError, OSError) as error:
            raise _damaged(path) from error


def made_of(
    dataset: str,
    images: Tensor,
    labels: Tensor,
    network: nn.Module,
    protocol: TrainingProtocol,
    augmentation: Augmentation | None,
    seed: int,
) -> dict[str, str]:
    """Everything that experts follow from, as JSON can hold it.

    The fingerprint of the normalised training images (n, C, H, W) and labels (n,) stands for the split and the
    normalisation too; ZCA that was fitted on another kind of machine may differ in the last bits. The type and the
    `repr` of a network are its architecture.
    """
    # of the later fields only values other than the default are written: older experts stay the same
    later = ("weight_decay", "drop_after")
    values = asdict(protocol).items()
    told = {name: value for name, value in values if name not in later or value != getattr(TrainingProtocol, name)}
    return {
        "dataset": dataset,
        "images": fingerprint(images, labels),
        "network": " ".join(f"{type(network).__name__} {network!r}".split()),
        "protocol": json.dumps(told),
        "augmentation": repr(augmentation),
        "seed": str(seed),
    }


def fingerprint(images: Tensor, labels: Tensor) -> str:
    """SHA-256 of images (n, C, H, W) and labels (n,) on any device: their shape, types and every bit."""
    digest = hashlib.sha256(f"{tuple(images.shape)} {images.dtype} {labels.dtype}".encode())
    for tensor in (images, labels):
        for part in tensor.split(HASHED_AT_ONCE):
            digest.update(part.flatten().cpu().numpy().tobytes())
    return digest.hexdigest()


def default_folder(made_of: dict[str, str]) -> Path:
    """The folder in rtp's cache for the experts of exactly these facts."""
    digest = hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()
    return cache_dir() / "experts" / f"{made_of['dataset']}-{digest[:16]}"


def train_expert(
    build: Callable[[], nn.Module],
    images: Tensor,
    labels: Tensor,
    protocol: TrainingProtocol,
    augmentation: Augmentation | None,
    seed: int,
    on_epoch: Callable[[], object] = lambda: None,
) -> Tensor:
    """Train a network on real images (n, C, H, W) and record its weights; the global generators do not change.

    Args:
        build: Builds the network, drawing from the global generators. It has no buffers that training changes.
        images: Training images, on the network's device.
        labels: (n,).
        protocol: MTT: SGD with learning rate 0.01, no momentum, 256 images a minibatch, 50 epochs.
        augmentation: Applied to each image of a minibatch by a draw of its own.
        seed: Seed of the first weights, the order of the images and their augmentation.
        on_epoch: Called after each epoch.

    Returns:
        (epochs + 1, P) flat weights theta*_0, theta*_1, ..., in the order of `parameters()`, on the CPU.

    Raises:
        UserError: If the weights are not finite.
    """
    with isolated_rng(seed):
        network = build()
    snapshots: list[Tensor] = []

    def record() -> None:
        snapshots.append(nn.utils.parameters_to_vector(network.parameters()).detach().cpu())
        if len(snapshots) > 1:
            on_epoch()

    record()
    train_networks([Trainee(network, images, labels, seed)], protocol, augmentation, vmapped=False, on_epoch=record)
    if not all(weights.isfinite().all() for weights in snapshots):
        raise UserError(f"an expert's weights are not finite: lower its learning rate {protocol.learning_rate}")
    return torch.stack(snapshots)


def _damaged(path: Path) -> DataError:
    return DataError(f"{str(path)!r} is missing, damaged or no expert's file: remove it and start again")


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 80 else f"{text[:80]}..."
