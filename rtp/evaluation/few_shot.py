"""Few-shot evaluation tasks, and the two ways to classify from shots without training."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from rtp.datamodules.class_sets import draw_episode


@dataclass(frozen=True)
class FewShotTask:
    """Classes of which a few images are seen.

    Attributes:
        shots: (k, s, C, H, W) images that are seen.
        test_images: (n, C, H, W) all other images of these classes in the same split.
        test_labels: (n,) their labels in 0..k-1.
    """

    shots: Tensor
    test_images: Tensor
    test_labels: Tensor


@dataclass(frozen=True)
class FewShotTasks:
    """Random few-shot tasks over labelled images; number n is the same every time.

    Attributes:
        images: (n, C, H, W) images.
        labels: (n,) their labels.
        ways: Classes of a task, k.
        shots: Shots of a class, s.
        seed: Seed of all tasks.
    """

    images: Tensor
    labels: Tensor
    ways: int
    shots: int
    seed: int

    @property
    def name(self) -> str:
        """As in the results."""
        return f"{self.ways}-way {self.shots}-shot"

    def __call__(self, number: int) -> FewShotTask:
        """Make a task; see `draw_episode`."""
        classes, shots, others = draw_episode(self.labels, self.ways, self.shots, number, self.seed)
        others = others.to(self.images.device)
        places = (self.labels[others][:, None] == classes.to(self.labels.device)).int().argmax(1)
        return FewShotTask(self.images[shots.to(self.images.device)], self.images[others], places)


def nearest_class_mean(shots: Tensor, features: Tensor) -> Tensor:
    """Scores (n, k) of features (n, F): negative Euclidean distances to the means of the classes' shots (k, s, F).

    This is our "nearest neighbour" of table 4. The paper leaves open the distance, and whether the neighbour is a shot
    or the mean of a class's shots. With one shot of a class the two are the same.
    """
    return -torch.cdist(features, shots.mean(1))


def majority_labels(logits: Tensor) -> Tensor:
    """The label (k,) of most shots of each class, from logits (k, s, num_classes); classes may share a label.

    Ties go to the label with the highest mean probability.
    """
    votes = F.one_hot(logits.argmax(2), logits.shape[2]).sum(1)
    return (votes + logits.softmax(2).mean(1) / 2).argmax(1)  # half a probability is less than a vote
