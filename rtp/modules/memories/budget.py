"""The storage budget of a memory, equation 4, in floats."""

import math
from dataclasses import dataclass

from rtp.errors import UserError
from rtp.utils.checks import check_at_least, check_positive

# the authors' CIFAR10 command: 16 bases of 3x16x16 in the storage of 10 images of 3x32x32; sweeps agree (docs/log.md)
BASES_SHARE = 0.4
MIN_SLOTS = 6  # images a class: with fewer, memories of Digits saturated (docs/log.md)


@dataclass(frozen=True)
class StorageBudget:
    """Equation 4: size(bases) + size(addressing matrices) <= N * C * size(image).

    Sizes are in floats, "assuming the numbers are stored as floats".

    Args:
        images_per_class: The budget, in real images per class; any positive number (below 1 is allowed).
        num_classes: Number of classes C, also the width d_y of a one-hot query.
        image_shape: (C, H, W) of a full-size image.
        downsampling: Factor ds by which bases are smaller in height and width; divides H and W.
        scalars: Other numbers that are stored, such as a learned rate.

    Raises:
        UserError: If the budget is not positive or `downsampling` does not divide the image.
    """

    images_per_class: float
    num_classes: int
    image_shape: tuple[int, int, int]
    downsampling: int
    scalars: int = 0

    def __post_init__(self) -> None:
        check_positive("images_per_class", self.images_per_class)
        _, height, width = self.image_shape
        if self.downsampling < 1 or height % self.downsampling or width % self.downsampling:
            common = math.gcd(height, width)
            fits = ", ".join(str(d) for d in range(1, common + 1) if common % d == 0)
            raise UserError(
                f"downsampling={self.downsampling} does not divide the image of {height}x{width} pixels: "
                f"use one of {fits}"
            )

    @property
    def floats(self) -> int:
        """Floats for images: images_per_class * num_classes * C * H * W, rounded down, less the other numbers."""
        return math.floor(self.images_per_class * self.num_classes * math.prod(self.image_shape)) - self.scalars

    @property
    def basis_shape(self) -> tuple[int, int, int]:
        """(C, H / ds, W / ds)."""
        channels, height, width = self.image_shape
        return channels, height // self.downsampling, width // self.downsampling

    @property
    def basis_size(self) -> int:
        """Floats of one basis."""
        return math.prod(self.basis_shape)

    def num_matrices(self, num_bases: int) -> int:
        """Addressing matrices, or images per class: r = floor((ipc * C_cls * C * H * W - K * C * h * w) / (d_y * K)).

        Raises:
            UserError: If K < 1, or r < 1; names a K or budget that fits.
        """
        check_at_least("num_bases", num_bases, 1)
        rest = self.floats - num_bases * self.basis_size
        matrices = rest // (self.num_classes * num_bases)
        if matrices >= 1:
            return matrices
        # one matrix needs d_y * K floats beside the K bases
        least = num_bases * (self.basis_size + self.num_classes)
        most_bases = self.floats // (self.basis_size + self.num_classes)
        images = math.ceil(100 * least / (self.num_classes * math.prod(self.image_shape))) / 100
        fewer = f"num_bases <= {most_bases} or " if most_bases else ""
        raise UserError(
            f"num_bases={num_bases} does not fit a budget of {self.images_per_class:g} images a class "
            f"({self.floats} floats): with one addressing matrix it takes {least}; "
            f"use {fewer}images_per_class >= {images:g}"
        )

    def balanced_bases(self) -> int:
        """The default number of bases K.

        Bases take `BASES_SHARE` of the budget, or less where fewer than `MIN_SLOTS` images a class would have room
        beside them; at least one, and never more than a basis has pixels: those span all images already, and the rest
        of the budget buys images a class. This gives the 16 and 160 bases of the shipped configurations for 10 classes
        and 1 and 10 images a class, and the 8 of Digits.
        """
        by_share = round(BASES_SHARE * self.floats / self.basis_size)
        # K bases and MIN_SLOTS matrices of num_classes * K floats
        with_room = self.floats // (self.basis_size + MIN_SLOTS * self.num_classes)
        return max(1, min(by_share, with_room, self.basis_size))

    def num_images(self) -> int:
        """Images per class that fit when each is stored at basis size (section 4.1's special case).

        Raises:
            UserError: If none fits.
        """
        images = self.floats // (self.num_classes * self.basis_size)
        if images < 1:
            least = math.ceil(100 * self.basis_size / math.prod(self.image_shape)) / 100
            raise UserError(
                f"images_per_class={self.images_per_class:g} holds no image of {self.basis_shape} a class: "
                f"use images_per_class >= {least:g} or a larger downsampling than {self.downsampling}"
            )
        return images
