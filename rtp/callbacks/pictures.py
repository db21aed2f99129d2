"""Pictures of the memory, in TensorBoard and as PNG files in the run's folder."""

import logging
from typing import Any

import lightning as L
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor
from torch.nn import functional as F

from rtp.datamodules.base import ImageDataModule
from rtp.datamodules.class_sets import one_of_each_class
from rtp.datamodules.streams.base import TaskStream
from rtp.errors import UserError, first_line
from rtp.modules.continual.base import ContinualLearner
from rtp.modules.distillation.base import Distillation
from rtp.modules.memories.image_addressing import ImageAddressedMemory
from rtp.runs.folders import run_folder
from rtp.utils.pictures import (
    captioned,
    class_similarity,
    image_grid,
    save_picture,
    similarity_map,
    stretched,
    within_range,
)

log = logging.getLogger(__name__)


class MemoryPictures(L.Callback):
    """After every evaluation shows recalled images, bases and the coefficient similarity map (figures 3, 7, 8).

    Images are shown as pixels of the data set: normalisation and ZCA are inverted, and images outside the range of
    pixels lose contrast. The files `recalled.png`, `bases.png` and `similarity.png` show the memory that was evaluated
    last; TensorBoard shows its history, without tests. A memory addressed by images shows what one validation image of
    each class recalls.

    Args:
        max_classes: Most classes shown in the grid of recalled images, a row each.
        max_images: Most recalled images shown of a class, and most bases in a row.
    """

    def __init__(self, max_classes: int = 20, max_images: int = 10) -> None:
        self.max_classes = max_classes
        self.max_images = max_images

    @rank_zero_only
    def on_predict_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, *_: Any
    ) -> None:
        """Write all recalled images of each class to `recalled/<class number>.png`.

        Of a stream, where a batch is the number of a task and its classes are counted from 0, to
        `recalled/task_<number>/`; tasks that are not finished are left out.
        """
        data: ImageDataModule | TaskStream = trainer.datamodule  # type: ignore[attr-defined]
        folder, labels, of_task = run_folder(trainer) / "recalled", range(len(outputs)), ""
        if isinstance(pl_module, ContinualLearner):
            folder, of_task = folder / f"task_{batch:02d}", f" of task {batch}"
            if not len(outputs):
                pl_module.print(f"task {batch} is not finished: it is left out")
                return
        else:
            labels = batch.tolist()
        for label, images in zip(labels, outputs, strict=True):
            save_picture(_shown(images, data), folder / f"{label:03d}.png", self.max_images)
        pl_module.print(f"recalled images of {len(labels)} classes{of_task} are in {folder}")  # beside the progress bar

    @rank_zero_only
    def _show(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if not isinstance(pl_module, Distillation) or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        data: ImageDataModule = trainer.datamodule  # type: ignore[attr-defined]
        folder = run_folder(trainer)
        try:
            for name, picture in self._pictures(pl_module, data).items():
                save_picture(picture, folder / f"{name}.png")
                if isinstance(trainer.logger, TensorBoardLogger) and not trainer.testing:
                    trainer.logger.experiment.add_image(f"memory/{name}", picture, trainer.global_step)
        except (UserError, OSError, MemoryError) as error:  # a full disk must not end the training
            log.warning("pictures of step %d are left out: %s", trainer.global_step, first_line(error))

    on_validation_end = on_test_end = _show

    @torch.no_grad()
    def _pictures(self, module: Distillation, data: ImageDataModule) -> dict[str, Tensor]:
        memory = module.memory
        if isinstance(memory, ImageAddressedMemory):
            memory = memory.addressed_by(one_of_each_class(*data.validation_set))
        classes = torch.arange(min(memory.query_dim, self.max_classes), device=module.device)
        recalled = memory.recall(classes)[:, : self.max_images]  # (classes, images, C, H, W)
        bases = F.interpolate(memory.bases, size=memory.image_shape[-2:], mode="bilinear", align_corners=False)
        bases = stretched(data.normalisation.invert(bases))
        per = "one validation image of each class" if module.memory.queried_by == "images" else "each class"
        shown = [_shown(row, data) for row in recalled]
        return {
            "recalled": image_grid(
                shown, data.class_names, f"What {per} recalls: networks are trained on these images"
            ),
            "bases": image_grid(
                bases.split(self.max_images), caption="Bases: what all classes share, in full contrast"
            ),
            "similarity": captioned(
                similarity_map(class_similarity(memory.coefficients()), data.class_names),
                "Cosine similarity of the classes' coefficients: red is alike, white unrelated, blue opposite",
            ),
        }


def _shown(images: Tensor, data: ImageDataModule | TaskStream) -> Tensor:
    # recalled images (n, C, H, W) as pixels in [0, 1]
    return within_range(data.normalisation.invert(images))
