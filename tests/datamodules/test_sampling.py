from itertools import islice

import pytest
import torch
from torch import Tensor

from rtp.datamodules.sampling import Batches, OuterBatches, fixed_part, stratified_split
from rtp.errors import UserError

# classes of 10, 20 and 3 images in an order that is not sorted
LABELS = torch.tensor([0, 1, 1, 0, 1, 2] * 3 + [0, 1, 1] * 4 + [1, 1, 1])
# the pixel is the image's number, so a batch tells which images it holds
IMAGES = torch.arange(len(LABELS), dtype=torch.float64).view(-1, 1, 1, 1)


def outer_batches(
    classes_per_step: int | None = None, seed: int = 0, length: int | None = None, start: int = 0
) -> OuterBatches:
    return OuterBatches(IMAGES, LABELS, 5, classes_per_step, seed, length, start)


def equal(a: tuple[Tensor, Tensor], b: tuple[Tensor, Tensor]) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_split_is_disjoint_complete_sorted_and_stratified() -> None:
    assert LABELS.bincount().tolist() == [10, 20, 3]
    first, second = stratified_split(LABELS, 0.2, seed=0)
    assert sorted(first.tolist() + second.tolist()) == list(range(33))
    assert first.tolist() == sorted(first.tolist())
    assert second.tolist() == sorted(second.tolist())
    assert LABELS[second].bincount().tolist() == [2, 4, 1]  # 20 % of 3 is 0.6, rounded to 1


@pytest.mark.parametrize(
    ("sizes", "fraction", "in_second"),
    [((2, 2), 0.01, [1, 1]), ((2, 4), 0.99, [1, 3]), ((1, 4), 0.5, [0, 2])],
)
def test_split_leaves_an_image_of_each_class_in_both_parts(
    sizes: tuple[int, int], fraction: float, in_second: list[int]
) -> None:
    labels = torch.tensor([0] * sizes[0] + [1] * sizes[1])
    second = stratified_split(labels, fraction, seed=0)[1]
    assert labels[second].bincount(minlength=2).tolist() == in_second


def test_split_is_seeded() -> None:
    assert equal(stratified_split(LABELS, 0.2, seed=3), stratified_split(LABELS, 0.2, seed=3))
    assert not equal(stratified_split(LABELS, 0.2, seed=3), stratified_split(LABELS, 0.2, seed=4))


def test_the_fixed_split_has_two_sides() -> None:
    train, test = fixed_part(LABELS, "train"), fixed_part(LABELS, "test")
    assert sorted(torch.cat([train, test]).tolist()) == list(range(33))
    assert LABELS[test].bincount().tolist() == [2, 4, 1]
    assert torch.equal(fixed_part(LABELS, "test"), test)


def test_batches_of_a_subset_are_those_of_the_images_alone() -> None:
    subset = torch.tensor([0, 1, 2, 5, 6, 7, 8, 9, 11, 20, 23])
    alone = OuterBatches(IMAGES[subset], LABELS[subset], 2, 2, seed=0)
    drawn = OuterBatches(IMAGES, LABELS, 2, 2, seed=0, subset=subset, prepare=lambda images: -images)
    for step in range(5):
        (images, labels), (negative, same) = alone.batch(step), drawn.batch(step)
        assert torch.equal(images, -negative)
        assert torch.equal(labels, same)
    assert alone.state_dict() == drawn.state_dict()


def test_batches_are_given_in_order() -> None:
    batches = Batches(["a", "b", "c"])
    assert list(batches) == ["a", "b", "c"] == list(batches)
    assert len(batches) == 3


def test_outer_batch_is_balanced_and_labelled() -> None:
    images, labels = outer_batches().batch(0)
    assert images.shape == (15, 1, 1, 1)
    assert labels.tolist() == [0] * 5 + [1] * 5 + [2] * 5
    assert torch.equal(LABELS[images.flatten().long()], labels)


def test_outer_batch_repeats_images_of_small_classes_only() -> None:
    for images, labels in islice(outer_batches(), 20):
        for label, distinct in ((0, {5}), (1, {5}), (2, {1, 2, 3})):
            assert len(torch.unique(images[labels == label])) in distinct


def test_outer_batches_draw_every_class_and_every_image() -> None:
    drawn = list(islice(outer_batches(classes_per_step=2), 100))
    assert all(len(torch.unique(labels)) == 2 for _, labels in drawn)
    assert all(torch.equal(labels, labels.sort().values) for _, labels in drawn)
    assert torch.unique(torch.cat([images for images, _ in drawn])).tolist() == list(range(33))
    # 200 draws from 3 classes: 66.7 expected of each, standard deviation sqrt(100 * 2/3 * 1/3) = 4.7
    counts = torch.cat([torch.unique(labels) for _, labels in drawn]).bincount()
    assert (counts - 66.7).abs().max() < 4 * 4.7


def test_outer_batch_depends_on_seed_and_step_alone() -> None:
    batches = outer_batches()
    later = batches.batch(7)
    assert equal(later, batches.batch(7))
    assert equal(later, list(islice(outer_batches(), 8))[7])
    assert not equal(later, batches.batch(8))
    assert not equal(later, outer_batches(seed=1).batch(7))
    assert len({tuple(images.flatten().tolist()) for images, _ in islice(batches, 200)}) == 200


def test_start_gives_the_tail_of_the_whole_iteration() -> None:
    whole, tail = list(outer_batches(length=6)), list(outer_batches(length=6, start=4))
    assert (len(whole), len(tail)) == (6, 2)
    assert all(equal(a, b) for a, b in zip(whole[4:], tail, strict=True))


def test_iteration_goes_on_where_it_stopped() -> None:
    batches, whole = outer_batches(length=5), list(outer_batches(length=5))
    parts = [*islice(batches, 2), *islice(batches, 1)]
    assert all(equal(a, b) for a, b in zip(whole, [*parts, *batches], strict=True))


def test_each_process_has_batches_of_its_own() -> None:
    first, second = (OuterBatches(IMAGES, LABELS, 5, 2, seed=0, rank=rank) for rank in (0, 1))
    assert equal(first.batch(3), outer_batches(classes_per_step=2).batch(3))
    assert not equal(first.batch(3), second.batch(3))
    classes = [[batches.batch(step)[1].unique().tolist() for step in range(10)] for batches in (first, second)]
    assert classes[0] != classes[1]


def test_batches_are_continued_with_the_same_data_and_seed_alone() -> None:
    state = outer_batches(seed=3).state_dict()
    outer_batches(seed=3).load_state_dict(state)
    with pytest.raises(UserError, match="started with data of seed 3, images 33, not of seed 4, images 33: continue"):
        outer_batches(seed=4).load_state_dict(state)


def test_length_is_that_of_the_whole_run() -> None:
    assert len(outer_batches(length=6, start=4)) == 6
    with pytest.raises(TypeError, match="never end"):
        len(outer_batches())


@pytest.mark.parametrize("classes_per_step", [0, 4])
def test_impossible_number_of_classes_is_refused(classes_per_step: int) -> None:
    with pytest.raises(UserError, match=f"classes_per_step is {classes_per_step}, .* from 1 to 3"):
        outer_batches(classes_per_step)


def grouped(groups: list[list[int]] | None, classes_per_step: int | None = None) -> OuterBatches:
    return OuterBatches(IMAGES, LABELS, 5, classes_per_step, seed=0, class_groups=groups)


def test_groups_of_classes_take_turns() -> None:
    batches = grouped([[1, 2], [2, 0]])
    assert [batches.batch(step)[1].unique().tolist() for step in range(4)] == [[1, 2], [0, 2], [1, 2], [0, 2]]
    assert all(torch.equal(LABELS[images.flatten().long()], labels) for images, labels in islice(batches, 4))
    drawn = [grouped([[1, 2], [2, 0]], 1).batch(step)[1].unique().tolist() for step in range(40)]
    assert {label for labels in drawn[::2] for label in labels} == {1, 2}
    assert {label for labels in drawn[1::2] for label in labels} == {0, 2}


def test_more_classes_than_the_smallest_group_has_are_refused() -> None:
    with pytest.raises(UserError, match="classes_per_step is 2, but a task has 1 classes: choose a number from 1 to 1"):
        grouped([[1, 2], [0]], 2)


def test_all_classes_as_one_group_are_what_no_groups_are() -> None:
    assert all(equal(grouped([[0, 1, 2]], 2).batch(step), outer_batches(2).batch(step)) for step in range(5))
