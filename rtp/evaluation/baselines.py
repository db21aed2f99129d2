"""Baselines of the same storage without distillation: random, herded and averaged real images; and all of them."""

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
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
    budget_floats: int,
    protocol: TrainingProtocol,
    real_protocol: TrainingProtocol,
    network: Callable[[], nn.Module],
    augmentation: Augmentation | None,
    seed: int,
) -> list[TrainingSet]:
    """The training sets that a memory is compared with.

    Each network has its own draw of random images; the herded images and the centres are the same for all. Labels are
    not charged: the images are stored class by class, as those of a memory.

    For herding this trains one network on all real images. All processes that share an evaluation must call it; they
    take the first one's choice.

    Args:
        data: Set up; only its training split is read.
        budget_floats: The memory's storage in the unit of equation 4, real pixels or numbers of 32 bits.
        protocol: How networks are trained on the sets of the memory's storage.
        real_protocol: How networks are trained on all real images.
        network: Makes the network of herding's features, drawing from the global generators.
        augmentation: Applied to the images that it is trained on.
        seed: Seed of that network, and of `class_centres`.

    Returns:
        "random real", "herding", then "class means" or, where more than one image a class has room, "k-means centres",
        then "all real".

    Raises:
        UserError: If a class has fewer images than the memory's storage holds.
    """
    images, labels = data.train_set
    per_class = images_of_equal_storage(budget_floats, data.num_classes, images[0].numel())
    floats = per_class * data.num_classes * images[0].numel()
    centres = class_centres(images, labels, per_class, seed)
    network_seed = derived_seed(seed, 0, 0)
    with isolated_rng(network_seed):
        trainee = Trainee(network(), images, labels, network_seed)
    (trained,) = train_networks([trainee], real_protocol, augmentation)
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


def images_of_equal_storage(budget_floats: int, num_classes: int, image_floats: int) -> int:
    """Images of each class, at least 1, whose storage is nearest to `budget_floats`, a memory's.

    Equation 4 asks for "approximately" the same, and a memory stays just below a whole number of images.
    """
    return max(1, round(budget_floats / (image_floats * num_classes)))


def random_real_images(images: Tensor, labels: Tensor, images_per_class: int) -> tuple[Tensor, Tensor]:
    """Draw images of every class, without replacement, from torch's global generator.

    Args:
        images: (n, C, H, W) real images.
        labels: (n,) their labels.
        images_per_class: Images to draw of each class.

    Returns:
        The images (m, C, H, W) and their labels (m,), class by class.

    Raises:
        UserError: If a class has fewer images.
    """
    members = _members_of_classes(labels, images_per_class)
    index = torch.cat([_drawn(of_class, images_per_class) for of_class in members])
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
    """The features (n, F) that a network's last layer reads, of images (n, C, H, W) on its device.

    Of a network that is not a `Network` they are the logits.
    """
    extract = network.features if isinstance(network, Network) else network
    return torch.cat([extract(part) for part in images.split(CHUNK_SIZE)])


def class_centres(images: Tensor, labels: Tensor, images_per_class: int, seed: int) -> tuple[Tensor, Tensor]:
    """Summarise every class by the centres of k-means: for one image a class, by the mean of the class.

    Args:
        images: (n, C, H, W) real images, preprocessed: distances are between what networks see.
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
    # imported here: a second that only the baselines need
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

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
