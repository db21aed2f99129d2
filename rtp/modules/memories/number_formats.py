"""The formats that a memory's numbers are stored in: rounding, its straight-through gradient, packing, and bits.

Numbers of 8 and 4 bits are symmetric, s q with integers q from -127 to 127 or -7 to 7, so that 0 stays 0. Each entry of
a tensor's first axis (a basis, an image, an addressing matrix) has a scale s of its own.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

StoredType = Literal["float32", "float16", "int8", "int4"]
STORED_TYPES: tuple[StoredType, ...] = get_args(StoredType)


@dataclass(frozen=True)
class NumberFormat:
    """How a number is stored.

    Attributes:
        bits: Of a number.
        dtype: Of the tensor in a file; two numbers of 4 bits share a byte.
        largest: Largest integer q; None for floating-point numbers, which have no scales.
    """

    bits: int
    dtype: torch.dtype
    largest: int | None = None


FORMATS: dict[StoredType, NumberFormat] = {
    "float32": NumberFormat(32, torch.float32),
    "float16": NumberFormat(16, torch.float16),
    "int8": NumberFormat(8, torch.int8, 127),
    "int4": NumberFormat(4, torch.uint8, 7),
}
SCALE_TYPE = torch.bfloat16
"""Of the scales s: its 8 significant bits make s q exact in float32, so that rounding what was rounded changes nothing.

float16 has the same number of bits, but not the range.
"""
SCALE_BITS = 8 * SCALE_TYPE.itemsize
SINGLE_BITS = 32
"""Of the numbers that are always stored in float32: scalars and, beside integers, vectors."""

_ZERO = 8  # the nibble of q = 0: nibbles are q + 8


def has_scales(shape: Sequence[int], stored_as: StoredType) -> bool:
    """Whether a tensor is stored as integers: one of a single axis, such as biases, stays in float32."""
    return FORMATS[stored_as].largest is not None and len(shape) > 1


def stored_shape(shape: Sequence[int], stored_as: StoredType) -> tuple[int, ...]:
    """Shape of the tensor in a file: that of the numbers, or for 4 bits (n, bytes of an entry of the first axis)."""
    if stored_as == "int4" and has_scales(shape, stored_as):
        return shape[0], -(-math.prod(shape[1:]) // 2)
    return tuple(shape)


def stored_bits(shape: Sequence[int], stored_as: StoredType) -> int:
    """Bits of a tensor's numbers and scales; where 4-bit numbers leave half a byte, it is counted."""
    if has_scales(shape, stored_as):
        values = math.prod(stored_shape(shape, stored_as)) * 8 * FORMATS[stored_as].dtype.itemsize
        return values + shape[0] * SCALE_BITS
    whole = len(shape) == 0 or FORMATS[stored_as].largest is not None
    return math.prod(shape) * (SINGLE_BITS if whole else FORMATS[stored_as].bits)


def quantised(tensor: Tensor, stored_as: StoredType) -> tuple[Tensor, Tensor]:
    """Round to integers, each entry of the first axis with a scale of its own.

    Args:
        tensor: (n, ...) finite float32.
        stored_as: "int8" or "int4".

    Returns:
        Integers q (n, ...) as float32, and scales s (n,) in `SCALE_TYPE`: s is the largest number's size over the
        largest q, so s q is within s / 2 of the tensor.
    """
    most = FORMATS[stored_as].largest
    assert most is not None
    scale = (tensor.flatten(1).abs().amax(1) / most).to(SCALE_TYPE)
    scale = torch.where(scale > 0, scale, 1.0)  # all zero, or too small for a scale
    return (tensor / _spread(scale.float(), tensor)).round().clamp(-most, most), scale


def dequantised(integers: Tensor, scale: Tensor) -> Tensor:
    """The numbers s q (n, ...) float32 of integers (n, ...) of any type and scales (n,)."""
    return integers.float() * _spread(scale.float(), integers)


def rounded(tensor: Tensor, stored_as: StoredType) -> Tensor:
    """The numbers that a file would hold, in float32, with the straight-through gradient: that of no rounding.

    Bengio, Leonard and Courville (2013) name the estimator; the scale counts as a constant. A scalar is not rounded.

    Args:
        tensor: Finite float32 of any shape.
        stored_as: The format.

    Returns:
        The same shape; bit for bit what comes back from a file.
    """
    if stored_as == "float32" or tensor.dim() == 0:
        return tensor
    if has_scales(tensor.shape, stored_as):
        stored = dequantised(*quantised(tensor.detach(), stored_as))
    elif FORMATS[stored_as].largest is not None:
        return tensor
    else:
        stored = tensor.detach().to(FORMATS[stored_as].dtype).float()
    return stored + (tensor - tensor.detach())  # adds 0: the sum is exact, other than that of a rounding error


def packed(integers: Tensor) -> Tensor:
    """Pack integers (n, ...) from -8 to 7 two to a byte, (n, bytes) uint8; the first is in the lower half."""
    nibbles = (integers.flatten(1) + _ZERO).to(torch.uint8)
    if nibbles.shape[1] % 2:
        nibbles = torch.nn.functional.pad(nibbles, (0, 1), value=_ZERO)
    return nibbles[:, ::2] | nibbles[:, 1::2] << 4


def unpacked(pairs: Tensor, shape: Sequence[int]) -> Tensor:
    """Integers of a shape (n, ...), int8, from what `packed` returned."""
    nibbles = torch.stack([pairs & 15, pairs >> 4], -1).flatten(1)  # (n, 2 * bytes)
    return (nibbles[:, : math.prod(shape[1:])].to(torch.int8) - _ZERO).view(*shape)


def _spread(scale: Tensor, tensor: Tensor) -> Tensor:
    return scale.view(-1, *[1] * (tensor.dim() - 1))
