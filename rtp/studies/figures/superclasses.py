"""CIFAR-100's superclasses, the order of its classes by superclass, and a test for blocks in a similarity map."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rtp.errors import UserError

# Coarse labels with their fine classes (Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009; the
# meta file's coarse_label_names, alphabetical)
_TABLE = """
aquatic_mammals: beaver dolphin otter seal whale
fish: aquarium_fish flatfish ray shark trout
flowers: orchid poppy rose sunflower tulip
food_containers: bottle bowl can cup plate
fruit_and_vegetables: apple mushroom orange pear sweet_pepper
household_electrical_devices: clock keyboard lamp telephone television
household_furniture: bed chair couch table wardrobe
insects: bee beetle butterfly caterpillar cockroach
large_carnivores: bear leopard lion tiger wolf
large_man-made_outdoor_things: bridge castle house road skyscraper
large_natural_outdoor_scenes: cloud forest mountain plain sea
large_omnivores_and_herbivores: camel cattle chimpanzee elephant kangaroo
medium_mammals: fox porcupine possum raccoon skunk
non-insect_invertebrates: crab lobster snail spider worm
people: baby boy girl man woman
reptiles: crocodile dinosaur lizard snake turtle
small_mammals: hamster mouse rabbit shrew squirrel
trees: maple_tree oak_tree palm_tree pine_tree willow_tree
vehicles_1: bicycle bus motorcycle pickup_truck train
vehicles_2: lawn_mower rocket streetcar tank tractor
"""
CIFAR100_SUPERCLASSES: dict[str, tuple[str, ...]] = {
    name: tuple(classes.split()) for name, _, classes in (line.partition(":") for line in _TABLE.split("\n") if line)
}
"""The 20 superclasses, each with its 5 classes."""

PERMUTATIONS = 9_999
"""Random relabellings; with the map itself 10,000, so a p-value is a multiple of 0.0001."""


def superclass_of(class_name: str) -> str | None:
    """The superclass of a class of CIFAR-100, None for any other name."""
    return next((name for name, classes in CIFAR100_SUPERCLASSES.items() if class_name in classes), None)


def superclass_order(class_names: Sequence[str]) -> list[int]:
    """Positions of classes ordered by superclass, and by name within one: the axes of figure 6.

    Raises:
        UserError: If a name is no class of CIFAR-100.
    """
    for name in class_names:
        if superclass_of(name) is None:
            raise UserError(f"{name!r} is no class of CIFAR-100, whose superclasses alone are known: use --order given")
    return sorted(range(len(class_names)), key=lambda place: (superclass_of(class_names[place]), class_names[place]))


@dataclass(frozen=True)
class BlockSimilarity:
    """Mean similarity of classes within and between groups.

    Attributes:
        within: Mean over the pairs of classes within a group.
        between: Mean over the other pairs.
        p_value: One-sided probability of a difference at least as large under random groups, in (0, 1].
        permutations: Number of random relabellings for the probability.
    """

    within: float
    between: float
    p_value: float
    permutations: int


def block_similarity(
    similarity: Tensor, groups: Sequence[str], permutations: int = PERMUTATIONS, seed: int = 0
) -> BlockSimilarity | None:
    """Compare similarities within groups of classes with those between them, by a permutation test of the labels.

    The statistic is mean(S_ij, i and j of one group) - mean(S_ij, of two groups) over pairs i < j. A permutation
    relabels the classes and keeps the map and the groups' sizes (Mantel's test of a matrix against a grouping).
    p = (1 + number of permutations with at least the statistic) / (1 + permutations), so it is never 0.

    Args:
        similarity: (C, C), symmetric.
        groups: Group of each of the C classes.
        permutations: Number of random relabellings, at least 1.
        seed: Seed of the relabellings.

    Returns:
        None if no two classes share a group, or all of them do.
    """
    names = sorted(set(groups))
    label = torch.tensor([names.index(group) for group in groups])
    row, column = torch.triu_indices(len(label), len(label), offset=1)
    same = label[row] == label[column]
    if not same.any() or same.all():
        return None
    pairs = similarity.double().cpu()
    # the mean over all pairs does not change, so the mean within groups orders permutations as the difference does
    first, second = row[same], column[same]
    within = pairs[first, second].mean()
    generator = torch.Generator().manual_seed(seed)
    shuffled = torch.rand(permutations, len(label), generator=generator, dtype=torch.float64).argsort(1)
    chance = pairs[shuffled[:, first], shuffled[:, second]].mean(1)
    # sums of the same numbers in another order differ by rounding
    reached = int((chance >= within - 1e-12).sum())
    between = pairs[row[~same], column[~same]].mean()
    return BlockSimilarity(float(within), float(between), (1 + reached) / (1 + permutations), permutations)
