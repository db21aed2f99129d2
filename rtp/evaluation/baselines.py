"""What the storage of a memory buys without distillation: real images, drawn or chosen, and their centres."""

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor, nn

from rtp.datamodules.base import ImageDataModule
from rtp.errors import UserError
from rtp.evaluation.base import FLOAT_BYTES, PIXEL_BYTES, TrainingSource
from rtp.evaluation.herding import herding
from rtp.modules.augmentations.base import Augmentation
from rtp.modules.networks import Network
from rtp.modules.networks.training import CHUNK_SIZE, Trainee, TrainingProtocol, isolated_rng, train_networks
from rtp.utils.distributed import all_gather
from rtp.utils.seeds import derived_seed

KMEANS_RUNS = 4  # the best of so many starts; on MNIST's classes single ones differ by less than 1 % (docs/log.md)
KMEANS_MOST_IMAGES = 6000  # of a class: nearly all of MNIST's, all of CIFAR-10's; bounds the time, see docs/log.md


@dataclass(frozen=True)
class TrainingSet(TrainingSource):
    """Images to train networks on.

    Attributes:
        draw: Gives images (m, C, H, W), preprocessed, and labels (m,) for one network; draws from torch's global
            generator.
    """

    draw: Callable[[], tuple[Tensor, Tensor]]


def baseline_sets(
    data: ImageDataModule,
    storage_floats: int,
    protocol: TrainingProtocol,
    real_protocol: TrainingProtocol,
    network: Callable[[], nn.Module],
    augmentation: Augmentation | None,
    seed: int,
) -> list[TrainingSet]:
    """The training sets that a memory has to be compared with.

    A network is trained on another draw of the random images each; the herded images and the centres are the same for
    all. Labels are not charged: the images are stored class by class, as those of a memory.

    Herding costs the training of one network on all real images, which is done here. Where several processes share the
    evaluation, each of them has to call this, and all take the first one's choice.

    Args:
        data: Set up; nothing but its training part is read.
        storage_floats: What the memory takes.
        protocol: How networks are trained on the sets of the memory's storage.
        real_protocol: How they are trained on all real images.
        network: Makes the network whose features herding looks at, drawing from the global generators.
        augmentation: Applied to the images that it is trained on, as to those of all networks.
        seed: Seed of that network, of k-means and of the images this sees, where a class has more than
            `KMEANS_MOST_IMAGES`.

    Returns:
        "random real", "herding", then "class means" or, where more than one image a class has room, "k-means centres",
        then "all real".

    Raises:
        UserError: If a class has fewer images than the memory's storage holds.
    """
    images, labels = data.train_set
    per_class = images_of_equal_storage(storage_floats, data.num_classes, images[0].numel())
    floats = per_class * data.num_classes * images[0].numel()
    centres = class_centres(images, labels, per_class, seed)
    trained = _trained(network, images, labels, real_protocol, augmentation, derived_seed(seed, 0, 0))
    chosen = torch.tensor(all_gather(herded_images(features_of(trained, images), labels, per_class).tolist())[0])
    herded = images[chosen.to(images.device)], labels[chosen.to(labels.device)]
    means = "class means" if per_class == 1 else "k-means centres"
    pixels, all_floats = floats * PIXEL_BYTES, images.numel()
    return [
        TrainingSet("random real", protocol, floats, pixels, lambda: random_real_images(images, labels, per_class)),
        TrainingSet("herding", protocol, floats, pixels, lambda: herded),
        TrainingSet(means, protocol, floats, floats * FLOAT_BYTES, lambda: centres),
        TrainingSet("all real", real_protocol, all_floats, all_floats * PIXEL_BYTES, lambda: (images, labels)),
    ]


def images_of_equal_storage(storage_floats: int, num_classes: int, image_floats: int) -> int:
    """Images of each class that take the storage of a memory.

    Equation 4 asks for "approximately" the same; a memory stays just below a whole number of images, so the nearest
    number is taken, and never none.

    Args:
        storage_floats: Floats of the memory.
        num_classes: Number of classes.
        image_floats: Floats of an image.
    """
    return max(1, round(storage_floats / (image_floats * num_classes)))


def random_real_images(images: Tensor, labels: Tensor, images_per_class: int) -> tuple[Tensor, Tensor]:
    """Draw as many random real images of every class: the plainest set of a given storage.

    Args:
        images: (n, C, H, W) real images.
        labels: (n,) their labels.
        images_per_class: Images to draw of each class, from torch's global generator, without replacement.

    Returns:
        The images (m, C, H, W) and their labels (m,), class by class.

    Raises:
        UserError: If a class has fewer images.
    """
    chosen = [_drawn(members, images_per_class) for members in _members_of_classes(labels, images_per_class)]
    index = torch.cat(chosen)
    return images[index], labels[index]


def herded_images(features: Tensor, labels: Tensor, images_per_class: int) -> Tensor:
    """Choose the images of every class whose mean feature is nearest to the class's; see `herding`.

    Args:
        features: (n, F) features of the images.
        labels: (n,) their labels.
        images_per_class: Images to choose of each class.

    Returns:
        (m,) indices of the images, class by class.

    Raises:
        UserError: If a class has fewer images.
    """
    members = _members_of_classes(labels, images_per_class)
    return torch.cat([of_class[herding(features[of_class], images_per_class)] for of_class in members])


@torch.no_grad()
def features_of(network: nn.Module, images: Tensor) -> Tensor:
    """What a network knows of images before its last layer.

    Args:
        network: One of rtp's; of any other network the logits are taken.
        images: (n, C, H, W), on the network's device.

    Returns:
        (n, F).
    """
    extract = network.features if isinstance(network, Network) else network
    return torch.cat([extract(part) for part in images.split(CHUNK_SIZE)])


def _trained(
    network: Callable[[], nn.Module],
    images: Tensor,
    labels: Tensor,
    protocol: TrainingProtocol,
    augmentation: Augmentation | None,
    seed: int,
) -> nn.Module:
    with isolated_rng(seed):
        trainee = Trainee(network(), images, labels, seed)
    return train_networks([trainee], protocol, augmentation)[0]


def class_centres(images: Tensor, labels: Tensor, images_per_class: int, seed: int) -> tuple[Tensor, Tensor]:
    """Summarise every class by the centres of k-means, which for one image a class is the mean of the class.

    Args:
        images: (n, C, H, W) real images, preprocessed: what is near is decided by what networks see.
        labels: (n,) their labels.
        images_per_class: Centres of each class.
        seed: Seed of k-means, and of the draw of the images it sees of a class with more than `KMEANS_MOST_IMAGES`.

    Returns:
        The centres (m, C, H, W) and their labels (m,), class by class, on the images' device.

    Raises:
        UserError: If a class has fewer images than centres.
    """
    centres = []
    for number, members in enumerate(_members_of_classes(labels, images_per_class)):
        if images_per_class == 1:
            centres.append(images[members].mean(0, keepdim=True))
        else:
            own_seed = derived_seed(seed, number)
            with isolated_rng(own_seed):
                seen = images[_drawn(members, KMEANS_MOST_IMAGES)]
            centres.append(_kmeans(seen, images_per_class, own_seed))
    return torch.cat(centres), labels.unique().repeat_interleave(images_per_class)


def _kmeans(images: Tensor, count: int, seed: int) -> Tensor:
    """The centres (count, C, H, W) of images (n, C, H, W)."""
    clusters = KMeans(count, n_init=KMEANS_RUNS, random_state=seed)
    with warnings.catch_warnings():
        # fewer distinct images than centres: some centres are equal, as the images are
        warnings.simplefilter("ignore", ConvergenceWarning)
        clusters.fit(images.flatten(1).cpu().numpy())
    return torch.from_numpy(clusters.cluster_centers_).to(images).view(count, *images.shape[1:])


def _members_of_classes(labels: Tensor, least: int) -> Iterator[Tensor]:
    """The indices of each class's images, classes in order; refuses a class that has fewer than `least`."""
    for label in labels.unique():
        members = (labels == label).nonzero().flatten()
        if len(members) < least:
            raise UserError(
                f"class {int(label)} has {len(members)} images, fewer than the {least} "
                "of the storage budget: use a smaller images_per_class"
            )
        yield members


def _drawn(members: Tensor, most: int) -> Tensor:
    return members[torch.randperm(len(members))[:most].to(members.device)]
