"""Class sets, evaluation tasks and episodes: disjoint, seeded, and refused where they do not fit."""

import pytest
import torch

from rtp.datamodules.class_sets import (
    check_shots,
    draw_across_sets,
    draw_episode,
    first_of_each_class,
    members_of_classes,
    one_of_each_class,
    renumbered,
    split_classes,
)
from rtp.errors import UserError

LABELS = torch.tensor([3, 1, 0, 1, 3, 1, 0, 3, 3, 1])  # two images of class 0, four each of 1 and 3, none of 2


@pytest.mark.parametrize("seed", [None, 0, 1])
def test_a_split_has_every_class_once(seed: int | None) -> None:
    tasks = split_classes(12, 3, seed)
    assert sorted(label for task in tasks for label in task) == list(range(12))
    assert [len(task) for task in tasks] == [3, 3, 3, 3]
    assert all(list(task) == sorted(task) for task in tasks)


def test_a_split_is_in_the_order_of_labels_or_seeded() -> None:
    assert split_classes(6, 2, None) == ((0, 1), (2, 3), (4, 5))
    assert split_classes(100, 5, 0) == split_classes(100, 5, 0)
    assert len({split_classes(100, 5, seed) for seed in (None, 0, 1)}) == 3


@pytest.mark.parametrize(
    ("classes_per_task", "seed", "message"),
    [
        (3, None, "classes_per_task is 3, but 10 classes must split into sets of one size, .*: use one of 2, 5, 10"),
        (1, None, "classes_per_task is 1, .* at least two classes"),
        (0, 0, "is 0"),
        (5, -1, "task_seed must be at least 0, got -1"),
    ],
)
def test_a_split_that_does_not_fit_is_refused(classes_per_task: int, seed: int | None, message: str) -> None:
    with pytest.raises(UserError, match=message):
        split_classes(10, classes_per_task, seed)


def test_an_evaluation_task_has_a_class_of_each_of_its_sets() -> None:
    tasks = split_classes(20, 4, 3)
    drawn = [draw_across_sets(tasks, 3, number, 7) for number in range(300)]
    home = {label: number for number, task in enumerate(tasks) for label in task}
    assert all(len({home[label] for label in classes}) == 3 for classes in drawn)
    assert {label for classes in drawn for label in classes} == set(range(20))
    assert drawn[5] == draw_across_sets(tasks, 3, 5, 7) != draw_across_sets(tasks, 3, 5, 8)
    # 900 draws of 20 classes: 45 expected of each, standard deviation sqrt(300 * 0.15 * 0.85) = 6.2
    counts = torch.tensor([label for classes in drawn for label in classes]).bincount()
    assert (counts - 45).abs().max() < 4 * 6.2


@pytest.mark.parametrize("ways", [1, 6])
def test_more_classes_than_sets_are_refused(ways: int) -> None:
    with pytest.raises(UserError, match=rf"ways is {ways}, but there are 5 class sets to take a class .* from 2 to 5"):
        draw_across_sets(split_classes(20, 4, 3), ways, 0, 0)


def test_shots_and_test_images_are_disjoint_and_complete() -> None:
    for number in range(50):
        classes, shots, others = draw_episode(LABELS, 2, 1, number, 0)
        assert len(set(classes.tolist())) == 2
        assert (LABELS[shots] == classes[:, None]).all()
        of_the_classes = torch.isin(LABELS, classes).nonzero().flatten().tolist()
        assert sorted(shots.flatten().tolist() + others.tolist()) == of_the_classes
    again = draw_episode(LABELS, 2, 1, 49, 0)
    assert all(torch.equal(a, b) for a, b in zip(again, (classes, shots, others), strict=True))
    drawn = [draw_episode(LABELS, 2, 1, number, 0)[1] for number in range(50)]
    assert torch.cat(drawn).unique().tolist() == list(range(10))


@pytest.mark.parametrize("shots", [0, 2, 5])
def test_shots_that_leave_nothing_to_test_on_are_refused(shots: int) -> None:
    with pytest.raises(UserError, match=rf"{shots} shots do not fit: class 0 has 2 images, .* from 1 to 1"):
        check_shots(LABELS, shots)
    with pytest.raises(UserError, match=rf"{shots} shots do not fit"):
        draw_episode(LABELS, 2, shots, 0, 0)


def test_more_ways_than_classes_are_refused() -> None:
    with pytest.raises(UserError, match=r"ways is 4, but there are 3 classes"):
        draw_episode(LABELS, 4, 1, 0, 0)


def test_labels_are_renumbered() -> None:
    assert renumbered(torch.tensor([7, 2, 9, 2]), (2, 9, 7)).tolist() == [2, 0, 1, 0]


def test_members_of_classes() -> None:
    members = members_of_classes(torch.tensor([2, 0, 2]), 3)
    assert [index.tolist() for index in members] == [[1], [], [0, 2]]


def test_the_first_of_each_class() -> None:
    labels = torch.tensor([2, 0, 2, 2, 0, 1])
    assert first_of_each_class(labels, 2).tolist() == [True, True, True, False, True, True]
    assert one_of_each_class(torch.arange(6.0).view(6, 1, 1, 1), labels).flatten().tolist() == [1, 5, 0]
