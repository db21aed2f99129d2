"""Training and measuring fresh networks: the evaluation protocol of section 5.1."""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import torch
from lightning.pytorch.utilities.seed import isolate_rng
from torch import Tensor, nn
from torch.func import functional_call, grad, stack_module_state, vmap
from torch.nn import functional as F

from rtp.errors import first_line
from rtp.modules.augmentations.base import Augmentation
from rtp.runs.device_faults import is_device_fault
from rtp.utils.checks import check_at_least, check_in, check_positive
from rtp.utils.seeds import derived_seed, seed_torch

log = logging.getLogger(__name__)

MIN_VMAPPED, MAX_VMAPPED_PIXELS = 8, 32 * 8 * 8  # networks, and pixels of a minibatch; see `vmap_pays`
CHUNK_SIZE = 1000  # images classified in one call; activations of ConvNet-128 take 0.5 GB for 32x32 pixels


@dataclass(frozen=True)
class TrainingProtocol:
    """SGD with momentum for a fresh network; by default with a constant learning rate and no weight decay.

    Args:
        epochs: Passes over the training images; the paper uses 300 (5.1).
        batch_size: Largest number of images in a minibatch; 640 is the authors' code's.
        learning_rate: The paper uses 0.01 (A.1).
        momentum: In [0, 1); the paper uses 0.9 (A.1).
        weight_decay: L2 penalty on all parameters, norms and biases too; DC, DSA and DM use 5e-4.
        drop_after: Fraction of the epochs, in (0, 1], after which the learning rate falls to a tenth; 1 keeps it. DC,
            DSA and DM use 0.5.

    Raises:
        UserError: If an argument is out of its range.
    """

    epochs: int = 300
    batch_size: int = 640
    learning_rate: float = 0.01
    momentum: float = 0.9
    weight_decay: float = 0.0
    drop_after: float = 1.0

    def __post_init__(self) -> None:
        check_at_least("epochs", self.epochs, 1)
        check_at_least("batch_size", self.batch_size, 1)
        check_positive("learning_rate", self.learning_rate)
        check_in("momentum", self.momentum, "[0, 1)")
        check_at_least("weight_decay", self.weight_decay, 0)
        check_in("drop_after", self.drop_after, "(0, 1]")

    def rate(self, epoch: int) -> float:
        """The learning rate of an epoch, counted from 0."""
        return self.learning_rate / (1 if epoch < round(self.drop_after * self.epochs) else 10)


@dataclass(frozen=True)
class Trainee:
    """A network to train, with its training set and random stream.

    Attributes:
        network: Maps (n, C, H, W) to logits (n, num_classes).
        images: (m, C, H, W) training images, on the network's device.
        labels: (m,).
        seed: At least 0; for the order of the images, their augmentation, and the draws of the network's layers.
    """

    network: nn.Module
    images: Tensor
    labels: Tensor
    seed: int


@contextmanager
def isolated_rng(seed: int) -> Iterator[None]:
    """Seed torch's global generators; on leaving, restore the state of all global generators."""
    with isolate_rng():
        seed_torch(seed)
        yield


def num_correct(
    classifier: Callable[[Tensor], Tensor], images: Tensor, labels: Tensor, chunk_size: int = CHUNK_SIZE
) -> int:
    """Count the images (n, C, H, W) with the highest score at their label (n,), classified in chunks."""
    chunks = zip(images.split(chunk_size), labels.split(chunk_size), strict=True)
    with torch.no_grad():
        return sum(int((classifier(part).argmax(1) == expected).sum()) for part, expected in chunks)


def accuracy(
    classifier: Callable[[Tensor], Tensor], images: Tensor, labels: Tensor, chunk_size: int = CHUNK_SIZE
) -> float:
    """The fraction of correctly classified images; see `num_correct`."""
    return num_correct(classifier, images, labels, chunk_size) / len(labels)


def train_networks(
    trainees: Sequence[Trainee],
    protocol: TrainingProtocol,
    augmentation: Augmentation | None = None,
    vmapped: bool | None = None,
    on_epoch: Callable[[], object] = lambda: None,
) -> list[nn.Module]:
    """Train networks on one device in place, one by one or in one vmapped loop.

    Both ways draw the same numbers, so they differ only by rounding, and a network's result does not depend on the
    others. A vmapped loop stacks the weights, computes all losses in one call (`torch.func.vmap`) and needs the memory
    of all minibatches at once. Networks with buffers (BatchNorm), frozen weights or operations that vmap refuses
    (dropout), of different kinds or with training sets of different sizes are trained one by one.

    Args:
        trainees: The networks with their training sets.
        protocol: Epochs, batch size and optimizer.
        augmentation: Applied to every image of a minibatch with its own parameter.
        vmapped: Whether to train in one loop; None decides by `vmap_pays`.
        on_epoch: Called after each epoch of each network, for progress bars.

    Returns:
        The networks, trained and in evaluation mode. The global random generators are as they were.
    """
    for trainee in trainees:
        trainee.network.train()
    if vmapped is None:
        vmapped = vmap_pays(trainees, protocol)
    descend = partial(_descend, protocol=protocol, augmentation=augmentation, on_epoch=on_epoch)
    with torch.enable_grad():  # Lightning turns gradients off while it validates and tests
        if not (vmapped and _stackable(trainees) and _train_vmapped(trainees, descend)):
            for trainee in trainees:
                _train_alone(trainee, descend)
    return [trainee.network.eval() for trainee in trainees]


def vmap_pays(trainees: Sequence[Trainee], protocol: TrainingProtocol) -> bool:
    """Whether the vmapped loop is faster: for many networks with small minibatches.

    One loop has fewer calls, but grouped convolutions, which are slower than plain ones. On two CPU cores it took, of
    the time one by one: 0.3 to 0.8 for 20 networks (small ConvNets, MLP) with 10 images of 8x8 pixels, 0.7 to 1.0 for 8
    with 32 of them, 0.5 to 1.0 for 20 with 60 of them, 0.9 to 1.3 for 20 ConvNet-32 with 10 images of 32x32, 1.1 for 8
    ConvNet-128 with those, 1.2 to 1.5 for ConvNets with 100 such images or more, and 0.7 to 1.0 for MLPs with 290
    images of 8x8. Not measured on a GPU. Compilation took 4 to 29 s per minibatch shape and saved 0 to 56 %.
    """
    if len(trainees) < MIN_VMAPPED:  # also none: of more processes than networks
        return False
    return trainees[0].images[: protocol.batch_size, 0].numel() <= MAX_VMAPPED_PIXELS


def _stackable(trainees: Sequence[Trainee]) -> bool:
    """Whether the networks are functions of only trained weights, of one kind, on sets of one size."""
    kinds = {(repr(t.network), t.images.shape, t.images.dtype, t.labels.shape) for t in trainees}
    plain = (all(p.requires_grad for p in t.network.parameters()) and not list(t.network.buffers()) for t in trainees)
    return len(kinds) == 1 and all(plain)


def _train_alone(trainee: Trainee, descend: Callable[..., None]) -> None:
    network = trainee.network

    def backward(images: Tensor, labels: Tensor) -> None:
        F.cross_entropy(network(images[0]), labels[0]).backward()

    with isolated_rng(derived_seed(trainee.seed, 1)):  # for random layers such as dropout
        descend(network.parameters(), backward, [trainee])


def _train_vmapped(trainees: Sequence[Trainee], descend: Callable[..., None]) -> bool:
    """Train all networks in one loop; if vmap fails, return False and leave them untouched."""
    networks = [trainee.network for trainee in trainees]
    stacked: dict[str, Tensor] = stack_module_state(networks)[0]  # leaves (N, ...)

    def loss(weights: dict[str, Tensor], images: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(functional_call(networks[0], weights, (images,)), labels)

    def backward(images: Tensor, labels: Tensor) -> None:
        with torch.no_grad():  # `grad` needs no graph around it
            gradients = vmap(grad(loss))(stacked, images, labels)
        for name, weights in stacked.items():
            weights.grad = gradients[name]

    try:
        descend(stacked.values(), backward, trainees)
    except RuntimeError as error:  # unsupported by vmap, or out of memory
        if is_device_fault(error):
            raise
        log.warning("networks are trained one by one, not vmapped: %s", first_line(error))
        return False
    with torch.no_grad():
        for place, network in enumerate(networks):
            for name, parameter in network.named_parameters():
                parameter.copy_(stacked[name][place])
    return True


def _descend(
    parameters: Iterable[Tensor],
    backward: Callable[[Tensor, Tensor], None],
    trainees: Sequence[Trainee],
    protocol: TrainingProtocol,
    augmentation: Augmentation | None,
    on_epoch: Callable[[], object],
) -> None:
    """Train N networks by SGD on their minibatches; `backward` writes the gradients into the parameters."""
    optimizer = torch.optim.SGD(
        parameters, protocol.learning_rate, protocol.momentum, weight_decay=protocol.weight_decay
    )
    for number, epoch in enumerate(_epochs(trainees, protocol, augmentation)):
        optimizer.param_groups[0]["lr"] = protocol.rate(number)
        for images, labels in epoch:
            optimizer.zero_grad()
            backward(images, labels)
            optimizer.step()
        for _ in trainees:
            on_epoch()


Minibatch = tuple[Tensor, Tensor]  # images (N, b, C, H, W) and labels (N, b) of N networks


def _epochs(
    trainees: Sequence[Trainee], protocol: TrainingProtocol, augmentation: Augmentation | None
) -> Iterator[Iterator[Minibatch]]:
    """The minibatches of every epoch; a network's do not depend on the other networks."""
    device, size = trainees[0].labels.device, len(trainees[0].labels)
    generators = [torch.Generator(device).manual_seed(derived_seed(t.seed, 0)) for t in trainees]

    def epoch() -> Iterator[Minibatch]:
        orders = [torch.randperm(size, device=device, generator=generator) for generator in generators]
        drawn = None
        if augmentation is not None:  # (N, m, ...)
            drawn = torch.stack([augmentation.sample(size, device, generator) for generator in generators])
        for start in range(0, size, protocol.batch_size):
            chosen = slice(start, start + protocol.batch_size)
            images = torch.stack([t.images[order[chosen]] for t, order in zip(trainees, orders, strict=True)])
            labels = torch.stack([t.labels[order[chosen]] for t, order in zip(trainees, orders, strict=True)])
            if augmentation is not None and drawn is not None:
                flat = augmentation.apply(images.flatten(0, 1), drawn[:, chosen].flatten(0, 1))
                images = flat.unflatten(0, labels.shape)
            yield images, labels

    for _ in range(protocol.epochs):
        yield epoch()
