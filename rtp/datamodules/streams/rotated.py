"""Rotations: each task turns every image by its own angle."""

from typing import Any

from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2.functional import rotate

from rtp.datamodules.sampling import Description
from rtp.datamodules.streams.base import TaskStream
from rtp.errors import UserError
from rtp.utils.checks import check_in


class RotatedTasks(TaskStream):
    """The data set rotated by one fixed angle per task, evenly spaced from 0 to `max_angle` degrees, both included.

    MNIST Rotations (Lopez-Paz and Ranzato, NeurIPS 2017; section 5.2: "a fixed angle from 0 to 180 degrees"). Images
    are rotated counter-clockwise with bilinear interpolation; pixels from outside are black.

    Args:
        max_angle: Angle of the last task in degrees, above 0 and below 360; 180 in the paper.
        kwargs: The arguments of `TaskStream`.

    Raises:
        UserError: If an argument is out of its range, or the data set's images are not square.
    """

    kind = "rotated"

    def __init__(self, *, max_angle: float = 180.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_in("max_angle", max_angle, "(0, 360)")
        self.max_angle = max_angle

    def angle(self, task: int) -> float:
        """The angle of a task in degrees."""
        return self.max_angle * task / max(1, self.num_tasks - 1)

    def description(self) -> Description:
        """See `TaskStream.description`."""
        return super().description() | {"max_angle": self.max_angle}

    def transformed(self, pixels: Tensor, task: int) -> Tensor:
        """See `TaskStream.transformed`."""
        angle = self.angle(task)
        return rotate(pixels, angle, InterpolationMode.BILINEAR) if angle else pixels

    def setup(self, stage: str | None = None) -> None:
        """See `TaskStream.setup`; raise UserError also if images are not square, as rotations would crop them."""
        channels, height, width = self.image_shape
        if height != width:
            raise UserError(
                f"{self.source.name} has images of {channels}x{height}x{width}, but a stream of rotations needs square "
                "ones: use another source or PermutedTasks."
            )
        super().setup(stage)
