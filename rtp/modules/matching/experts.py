"""The expert buffer of trajectory matching: networks trained on real images, with their weights after every epoch.

"Expert Trajectories" of Cazenavette et al., "Dataset Distillation by Matching Training Trajectories" (MTT), CVPR 2022.
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
"""Where the metadata of an expert's file say what it was made of."""
TENSOR = "weights"
"""The only tensor of an expert's file: (epochs + 1, P), row e the weights after e epochs."""
HASHED_AT_ONCE = 4096
"""Images that are copied from a GPU for the fingerprint: 4096 CIFAR images are 50 MB."""


@dataclass(frozen=True)
class ExpertBuffer:
    """A folder with a file for each expert, of which no more than the asked-for weights are ever read.

    Files are written whole or not at all, and experts do not depend on each other: a preparation that was killed goes
    on with the first expert that has no file, and a larger buffer begins with the experts of a smaller one.

    Attributes:
        folder: Where the files are.
        made_of: What an expert follows from, see `made_of`; a file of anything else is refused.
        epochs: Epochs that every expert was trained for.
    """

    folder: Path
    made_of: dict[str, str]
    epochs: int

    def path(self, number: int) -> Path:
        """The file of an expert.

        Args:
            number: Its number, from 0.
        """
        return self.folder / f"expert_{number:04d}.safetensors"

    def holds(self, number: int) -> bool:
        """Whether an expert is there.

        Args:
            number: Its number, from 0.

        Raises:
            DataError: If its file is damaged.
            UserError: If its file is an expert of something else.
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
        others = [key for key, value in self.made_of.items() if theirs.get(key) != value]
        if others:
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
        """Take the making of an expert for this process: other runs may prepare the same buffer.

        Args:
            number: Its number, from 0.
            wait: Whether to wait until no other process makes it.

        Yields:
            Whether no other process makes it. It may have been made since it was looked for.
        """
        lock = self.path(number).with_suffix(".lock")
        with locked(lock, wait) as free:
            yield free
            if free and self.path(number).exists():
                lock.unlink(missing_ok=True)  # whoever takes it from now on finds the expert

    def store(self, number: int, weights: Tensor) -> None:
        """Write an expert's file; a reader sees the whole file or none.

        Args:
            number: Its number, from 0.
            weights: (epochs + 1, P), see `train_expert`.

        Raises:
            UserError: If it cannot be written.
        """
        # a folder that was copied to another machine may have got it there: its file holds the same
        with new_file(self.path(number), overwrite=self.holds(number)) as file:
            file.write(save({TENSOR: weights.contiguous()}, {KEY: json.dumps(self.made_of)}))

    def weights(self, number: int, epochs: tuple[int, ...]) -> tuple[Tensor, ...]:
        """Read some of an expert's weights, and nothing else of its file.

        Args:
            number: The expert's number, from 0.
            epochs: After how many epochs.

        Returns:
            (P,) for each of them, on the CPU.

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
    """Say all that experts follow from, as JSON can hold it.

    Args:
        dataset: Name of the data set.
        images: (n, C, H, W) normalised training images: their fingerprint, which is of all bits, stands for the split
            and the normalisation too. ZCA that was fitted on another kind of machine may differ in the last bits.
        labels: (n,) their labels.
        network: One of the networks: its type and what it prints are its architecture.
        protocol: How they are trained.
        augmentation: Applied to the training images.
        seed: Seed of all experts.
    """
    return {
        "dataset": dataset,
        "images": fingerprint(images, labels),
        "network": " ".join(f"{type(network).__name__} {network!r}".split()),
        "protocol": json.dumps(_told(protocol)),
        "augmentation": repr(augmentation),
        "seed": str(seed),
    }


def _told(protocol: TrainingProtocol) -> dict[str, float]:
    """A protocol's values; later ones only where they do something, or else older experts would be others."""
    plain = TrainingProtocol()
    later = {name for name in ("weight_decay", "drop_after") if getattr(protocol, name) == getattr(plain, name)}
    return {name: value for name, value in asdict(protocol).items() if name not in later}


def fingerprint(images: Tensor, labels: Tensor) -> str:
    """SHA-256 of labelled images: their shape, type and every bit.

    Args:
        images: (n, C, H, W), on any device.
        labels: (n,).
    """
    digest = hashlib.sha256(f"{tuple(images.shape)} {images.dtype} {labels.dtype}".encode())
    for tensor in (images, labels):
        for part in tensor.split(HASHED_AT_ONCE):
            digest.update(part.flatten().cpu().numpy().tobytes())
    return digest.hexdigest()


def default_folder(made_of: dict[str, str]) -> Path:
    """A folder in rtp's cache for the experts of just these things.

    Args:
        made_of: See `made_of`.
    """
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
    """Train a network on real images and note its weights.

    Args:
        build: Makes the network, drawing from the global generators.
        images: (n, C, H, W) training images, on the network's device.
        labels: (n,) their labels.
        protocol: How it is trained; MTT: SGD with learning rate 0.01, no momentum, 256 images a minibatch, 50 epochs.
        augmentation: Applied to every image of a minibatch with a parameter of its own.
        seed: Seed of the expert: its first weights, the order of the images and their augmentation.
        on_epoch: Called after each epoch.

    Returns:
        (epochs + 1, P) flat weights theta*_0, theta*_1, ..., in the order of `parameters()`, on the CPU. The global
        generators are as they were.

    Raises:
        UserError: If the weights are not finite.
    """
    with isolated_rng(seed):
        network = build()
    snapshots = [flat_weights(network)]

    def note() -> None:
        snapshots.append(flat_weights(network))
        on_epoch()

    train_networks([Trainee(network, images, labels, seed)], protocol, augmentation, vmapped=False, on_epoch=note)
    if not all(weights.isfinite().all() for weights in snapshots):
        raise UserError(f"an expert's weights are not finite: lower its learning rate {protocol.learning_rate}")
    return torch.stack(snapshots)


def flat_weights(network: nn.Module) -> Tensor:
    """The weights of a network as one vector (P,) on the CPU, in the order of `parameters()`.

    Args:
        network: Without buffers that training changes: they are no part of it.
    """
    return nn.utils.parameters_to_vector(network.parameters()).detach().cpu()


def _damaged(path: Path) -> DataError:
    return DataError(f"{str(path)!r} is missing, damaged or no expert's file: remove it and start again")


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 80 else f"{text[:80]}..."
