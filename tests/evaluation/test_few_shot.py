"""Few-shot tasks, nearest class means and majorities, on cases worked out by hand."""

import torch

from rtp.evaluation.few_shot import FewShotTasks, majority_labels, nearest_class_mean


def test_a_task_keeps_shots_and_test_images_apart_and_renumbers() -> None:
    labels = torch.tensor([4, 8, 6] * 5)
    images = torch.arange(15.0).view(15, 1, 1, 1)
    task = FewShotTasks(images, labels, ways=2, shots=2, seed=0)(3)
    shots = task.shots.flatten(1).long()  # the pixel is the image's number
    assert task.shots.shape == (2, 2, 1, 1, 1)
    classes = labels[shots[:, 0]]
    assert (labels[shots] == classes[:, None]).all()
    assert torch.equal(classes[task.test_labels], labels[task.test_images.flatten().long()])
    assert not set(shots.flatten().tolist()) & set(task.test_images.flatten().long().tolist())
    assert task.test_labels.bincount().tolist() == [3, 3]


def test_the_nearest_class_mean() -> None:
    shots = torch.tensor([[[0.0, 0.0], [2.0, 0.0]], [[10.0, 0.0], [10.0, 4.0]]])  # means (1, 0) and (10, 2)
    features = torch.tensor([[1.0, 0.0], [5.0, 0.0], [6.0, 4.0], [10.0, 0.0]])
    assert nearest_class_mean(shots, features).argmax(1).tolist() == [0, 0, 1, 1]


def test_the_majority_decides_and_then_the_probability() -> None:
    two_against_one = torch.tensor([[1.0, 0, 0], [1.0, 0, 0], [0, 0, 90.0]])
    tie = torch.tensor([[0, 1.0, 0], [0, 0, 5.0]])  # one for label 1, a surer one for 2
    assert majority_labels(two_against_one[None]).tolist() == [0]
    assert majority_labels(tie[None]).tolist() == [2]
