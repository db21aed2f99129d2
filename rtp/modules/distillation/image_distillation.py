"""The LightningModule that learns an image-addressed memory (sections 5.3.2 and B.3)."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rtp.datamodules.class_sets import check_shots, check_ways, first_of_each_class, one_of_each_class
from rtp.errors import UserError
from rtp.modules.distillation.classifier_synthesis import ClassifierSynthesis
from rtp.modules.distillation.memory_distillation import augmented_episode
from rtp.modules.memories.image_addressing import ImageAddressedMemory
from rtp.modules.unroll.base import Episode


@dataclass(frozen=True)
class FewShot:
    """The evaluation tasks; `evaluation.networks` is their number.

    Args:
        ways: Classes k of a task; 5 in the paper (A.3).
        shots: Shots per class, for each row of the results; validation uses only the first. The paper has 1 and 5
            (table 4).
        label_memory: File of `rtp export` with a label-addressed memory of the same data for the baseline
            "classify-then-recall"; null omits it.

    Raises:
        UserError: If `shots` is empty, or holds a number below 1.
    """

    ways: int = 5
    shots: tuple[int, ...] = (1, 5)
    label_memory: str | None = None

    def __post_init__(self) -> None:
        if not self.shots or min(self.shots) < 1:
            raise UserError(
                f"few_shot.shots is {list(self.shots)}, but must hold at least one number, each at least 1: give the "
                "shots of a class, such as [1, 5]"
            )


class ImageAddressedDistillation(ClassifierSynthesis):
    """Distils a data set into a memory addressable by images, "recall the past with images" of section 5.3.2.

    An outer step is an episode: some images of each class of the batch are shots, whose queries recall the images that
    a fresh k-way network is trained on. Bases, addressing matrices and feature network descend its loss on the batch's
    other images. Shots are not augmented; the paper does not say.

    Set `data.classes_per_step` to the ways of the evaluation tasks. `data.real_images_per_class` counts shots and other
    images together.

    Args:
        *args: As in `UnrolledDistillation`; the memory is an `ImageAddressedMemory`.
        shots: Shots per class; each step draws one of the numbers. The paper trains with 1 or 5, as it tests (B.3).
        few_shot: The evaluation tasks.
        **kwargs: As in `UnrolledDistillation`.

    Raises:
        UserError: If the memory is addressed by labels, or a number is out of its range.
    """

    queried_by = "images"
    memory: ImageAddressedMemory

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        num_classes: int,
        *args: Any,
        shots: tuple[int, ...],
        few_shot: FewShot = FewShot(),  # frozen
        **kwargs: Any,
    ) -> None:
        if not shots or min(shots) < 1:
            raise UserError(f"shots is {list(shots)}, but must hold at least one number, each at least 1")
        check_ways(few_shot.ways, num_classes, "classes")
        super().__init__(image_shape, num_classes, *args, **kwargs)
        self.shots = shots
        self.few_shot = few_shot

    def setup(self, stage: str) -> None:
        """Check that the data set has enough images.

        Raises:
            UserError: If an episode has only one class, shots leave no outer images, or a class has too few images.
        """
        super().setup(stage)
        data = self.data()
        if stage == "fit":
            if data.classes_per_step == 1:
                raise UserError(
                    "classes_per_step is 1, but an episode needs two classes or more: set it to "
                    f"{self.few_shot.ways}, the ways of the evaluation tasks"
                )
            if data.real_images_per_class <= max(self.shots):
                raise UserError(
                    f"{max(self.shots)} shots leave no image of a class for the outer loss: real_images_per_class is "
                    f"{data.real_images_per_class}, set it above {max(self.shots)}"
                )
            counts = data.train_set[1].bincount(minlength=data.num_classes)
            if int(counts.min()) < data.real_images_per_class:  # an image could be both a shot and an outer image
                raise UserError(
                    f"class {int(counts.argmin())} has {int(counts.min())} images, fewer than "
                    f"real_images_per_class={data.real_images_per_class}: set it to {int(counts.min())} or less"
                )
        if stage in ("fit", "validate"):
            check_shots(data.validation_set[1], self.few_shot.shots[0])
        if stage == "test":
            for shots in self.few_shot.shots:
                check_shots(data.test_set[1], shots)

    def episode(self, real_images: Tensor, real_labels: Tensor) -> tuple[Episode, int]:
        """See `ClassifierSynthesis.episode`."""
        classes, labels = real_labels.unique(return_inverse=True)
        num_shots = self.shots[int(torch.randint(len(self.shots), ()))]
        is_shot = first_of_each_class(labels, num_shots)
        images = self.memory.recall_images(real_images[is_shot]).flatten(0, 1)  # class by class, as the batch is
        recalled = images, labels[is_shot].repeat_interleave(self.memory.num_slots)
        real = real_images[~is_shot], labels[~is_shot]
        settings = self.slots_per_class, self.current_unroll.num_steps, self.augmentation
        return augmented_episode(recalled, len(classes), real, *settings), len(classes)

    @torch.no_grad()
    def predict_step(self, labels: Tensor) -> Tensor:
        """See `Distillation.predict_step`; recalls by one validation image of each class, instead of its label."""
        return self.memory.recall_images(one_of_each_class(*self.data().validation_set)[labels])
