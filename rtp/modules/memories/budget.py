"""The storage budget of a memory, equation 4, in bits."""

import math
from dataclasses import dataclass

from rtp.errors import UserError
from rtp.modules.memories.number_formats import SINGLE_BITS, StoredType, stored_bits
from rtp.utils.checks import check_at_least, check_positive

# the authors' CIFAR10 command: 16 bases of 3x16x16 in the storage of 10 images of 3x32x32; sweeps agree (docs/log.md).
# Where shorter numbers leave room for more, more images a class are worth more than more bases (docs/log.md).
BASES_SHARE: dict[StoredType, float] = {"float32": 0.4, "float16": 0.4, "int8": 0.3, "int4": 0.2}
MIN_SLOTS = 6  # images a class: with fewer, memories of Digits saturated (docs/log.md)


@dataclass(frozen=True)
class StorageBudget:
    """Equation 4: size(bases) + size(addressing matrices) <= N * C * size(image), counted in bits.

    The paper's budget is N real images a class, "assuming the numbers are stored as floats": of 32 bits. The budget is
    one of `images_per_class`, `total_bytes` and `bits_per_class`; what is stored is charged in the bits that it takes,
    the scales of integers included.

    Args:
        images_per_class: N, real images of 32-bit floats per class; any positive number (below 1 is allowed).
        num_classes: Number of classes C, also the width d_y of a one-hot query.
        image_shape: (C, H, W) of a full-size image.
        downsampling: Factor ds by which bases are smaller in height and width; divides H and W.
        scalars: Other numbers that are stored, such as a learned rate, in 32 bits.
        total_bytes: The budget in bytes for all classes together.
        bits_per_class: The budget in bits a class.
        stored_as: Format of the numbers of bases and addressing matrices.

    Raises:
        UserError: If not exactly one budget is given, it is not positive, or `downsampling` does not divide the image.
    """

    images_per_class: float | None
    num_classes: int
    image_shape: tuple[int, int, int]
    downsampling: int
    scalars: int = 0
    total_bytes: float | None = None
    bits_per_class: float | None = None
    stored_as: StoredType = "float32"

    def __post_init__(self) -> None:
        given = [name for name in _UNITS if getattr(self, name) is not None]
        if len(given) != 1:
            raise UserError(f"the budget is {' and '.join(given) or 'not given'}: give one of {', '.join(_UNITS)}")
        check_positive(given[0], getattr(self, given[0]))
        _, height, width = self.image_shape
        if self.downsampling < 1 or height % self.downsampling or width % self.downsampling:
            common = math.gcd(height, width)
            fits = ", ".join(str(d) for d in range(1, common + 1) if common % d == 0)
            raise UserError(
                f"downsampling={self.downsampling} does not divide the image of {height}x{width} pixels: "
                f"use one of {fits}"
            )

    @property
    def unit(self) -> str:
        """The name of the budget that is given."""
        return next(name for name in _UNITS if getattr(self, name) is not None)

    @property
    def bits(self) -> int:
        """Bits for images: the budget, rounded down, less the other numbers."""
        return math.floor(getattr(self, self.unit) * self._bits_of_one) - SINGLE_BITS * self.scalars

    @property
    def basis_shape(self) -> tuple[int, int, int]:
        """(C, H / ds, W / ds)."""
        channels, height, width = self.image_shape
        return channels, height // self.downsampling, width // self.downsampling

    @property
    def basis_size(self) -> int:
        """Numbers of one basis."""
        return math.prod(self.basis_shape)

    @property
    def basis_bits(self) -> int:
        """Bits of one basis, its scale included."""
        return stored_bits((1, *self.basis_shape), self.stored_as)

    def matrix_bits(self, num_bases: int) -> int:
        """Bits of one addressing matrix (C, K), its scale included."""
        return stored_bits((1, self.num_classes, num_bases), self.stored_as)

    def num_matrices(self, num_bases: int) -> int:
        """Addressing matrices, or images per class, beside K bases.

        In floats r = floor((ipc * C_cls * C * H * W - K * C * h * w) / (d_y * K)).

        Raises:
            UserError: If K < 1, or r < 1; names a K or budget that fits.
        """
        check_at_least("num_bases", num_bases, 1)
        matrix = self.matrix_bits(num_bases)
        matrices = (self.bits - num_bases * self.basis_bits) // matrix
        if matrices >= 1:
            return matrices
        least = num_bases * self.basis_bits + matrix
        most_bases = self.bits // (self.basis_bits + self.matrix_bits(2) - self.matrix_bits(1))
        while most_bases and most_bases * self.basis_bits + self.matrix_bits(most_bases) > self.bits:
            most_bases -= 1
        fewer = f"num_bases <= {most_bases} or " if most_bases else ""
        raise UserError(
            f"num_bases={num_bases} does not fit a budget of {self._given} {_UNITS[self.unit]} "
            f"({self.bits // 8:,} bytes): with one addressing matrix it takes {-(-least // 8):,}; "
            f"use {fewer}{self._at_least(least)}"
        )

    def balanced_bases(self) -> int:
        """The default number of bases K.

        Bases take `BASES_SHARE` of the budget, or less where fewer than `MIN_SLOTS` images a class would have room
        beside them; at least one, and never more than a basis has pixels: those span all images already, and the rest
        of the budget buys images a class. This gives the 16 and 160 bases of the shipped configurations for 10 classes
        and 1 and 10 images a class, and the 8 of Digits.
        """
        by_share = round(BASES_SHARE[self.stored_as] * self.bits / self.basis_bits)
        # K bases and MIN_SLOTS matrices of num_classes * K numbers
        columns = self.matrix_bits(3) - self.matrix_bits(1)  # two: half a byte has no column of its own
        with_room = 2 * self.bits // (2 * self.basis_bits + MIN_SLOTS * columns)
        return max(1, min(by_share, with_room, self.basis_size))

    def num_images(self) -> int:
        """Images per class that fit when each is stored at basis size (section 4.1's special case).

        Raises:
            UserError: If none fits.
        """
        images = self.bits // (self.num_classes * self.basis_bits)
        if images < 1:
            raise UserError(
                f"{self.unit}={self._given} holds no image of {self.basis_shape} a class: "
                f"use {self._at_least(self.num_classes * self.basis_bits)} or a larger downsampling than "
                f"{self.downsampling}"
            )
        return images

    @property
    def _bits_of_one(self) -> int:
        of_image = SINGLE_BITS * math.prod(self.image_shape) * self.num_classes
        return {"images_per_class": of_image, "total_bytes": 8, "bits_per_class": self.num_classes}[self.unit]

    @property
    def _given(self) -> str:
        value = getattr(self, self.unit)
        return f"{value:g}" if self.unit == "images_per_class" else f"{value:.10g}"

    def _at_least(self, bits: int) -> str:
        # of images, two digits after the point
        steps = 100 if self.unit == "images_per_class" else 1
        least = math.ceil(steps * (bits + SINGLE_BITS * self.scalars) / self._bits_of_one) / steps
        return f"{self.unit} >= {least:.10g}"


_UNITS = {"images_per_class": "images a class", "total_bytes": "bytes", "bits_per_class": "bits a class"}
"""The arguments that state the budget, and what they count."""
