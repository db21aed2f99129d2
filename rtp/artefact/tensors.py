"""The tensors of a memory file: their types and shapes, and checks of their values."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from rtp.artefact.kinds import KINDS
from rtp.artefact.layout import Description
from rtp.datamodules.normalisation import ZCA, Normalisation, Standardisation
from rtp.errors import DataError, UserError
from rtp.modules.memories.base import Memory
from rtp.modules.memories.number_formats import (
    FORMATS,
    SCALE_TYPE,
    StoredType,
    dequantised,
    has_scales,
    packed,
    quantised,
    stored_shape,
    unpacked,
)

Specs = dict[str, tuple[torch.dtype, tuple[int, ...]]]


def memory_specs(description: Description, num_bases: int, scale_type: torch.dtype = SCALE_TYPE) -> Specs:
    """Types and shapes of the memory's tensors, the scales of integers included.

    `num_bases` counts the bases of all tasks together; pixel memories ignore it.
    """
    stored_as, specs = description.stored_as, Specs()
    for name, shape in KINDS[description.kind].tensor_shapes(description, num_bases).items():
        of_format = FORMATS[stored_as]
        if has_scales(shape, stored_as):
            specs |= {name: (of_format.dtype, stored_shape(shape, stored_as)), f"{name}.scale": (scale_type, shape[:1])}
        else:
            specs[name] = (torch.float32 if of_format.largest else of_format.dtype, shape)
    return specs


def normalisation_specs(description: Description) -> Specs:
    """Types and shapes of the normalisation's tensors.

    ZCA's eigenvectors, the one large tensor, are stored in float32: images then differ by 1e-6 of their norm.
    """
    if description.zca_reg is None:
        channels = (description.image_shape[0],)
        return {"mean": (torch.float64, channels), "std": (torch.float64, channels)}
    pixels = math.prod(description.image_shape)
    return {
        "zca.eigenvalues": (torch.float64, (pixels,)),
        "zca.eigenvectors": (torch.float32, (pixels, pixels)),
        "zca.mean": (torch.float64, ()),
        "zca.norm": (torch.float64, ()),
    }


def specs_of(tensors: Mapping[str, Tensor]) -> Specs:
    """Types and shapes of tensors."""
    return {name: (tensor.dtype, tuple(tensor.shape)) for name, tensor in tensors.items()}


def check_specs(wanted: Specs, found: Specs) -> None:
    """Raise DataError at the first difference between the types and shapes wanted by a description and those found."""
    for name in [*wanted, *sorted(set(found) - set(wanted))]:
        if found.get(name) != wanted.get(name):
            raise DataError(f"{ascii(name)[:40]} is {_shown(found.get(name))}, not {_shown(wanted.get(name))}")


def num_bytes(specs: Specs) -> int:
    """Bytes of the tensors."""
    return sum(dtype.itemsize * math.prod(shape) for dtype, shape in specs.values())


def stored_tensors(numbers: Mapping[str, Tensor], stored_as: StoredType) -> dict[str, Tensor]:
    """A memory's tensors as they are stored.

    The images recalled from 8 bases of digits, trained in float32, change by 0.7 % of their norm in 8 bits. A scale for
    each row of a matrix made it 0.55 %, at a third more bytes.

    Args:
        numbers: Float32 tensors by their names in a file.
        stored_as: The format.

    Raises:
        UserError: If a number is not finite or does not fit float16.
    """
    tensors = {}
    for name, value in numbers.items():
        tensor = value.detach().cpu().contiguous()
        if not tensor.isfinite().all():
            raise UserError(f"{name} hold numbers that are not finite: use another checkpoint")
        if has_scales(tensor.shape, stored_as):
            integers, tensors[f"{name}.scale"] = quantised(tensor, stored_as)
            tensors[name] = packed(integers) if stored_as == "int4" else integers.to(FORMATS[stored_as].dtype)
        else:  # beside integers: of a feature network, biases and the scales of norms, which are few
            tensors[name] = tensor if FORMATS[stored_as].largest else tensor.to(FORMATS[stored_as].dtype)
        if tensors[name].is_floating_point() and not tensors[name].isfinite().all():
            largest = float(tensor.abs().max())
            raise UserError(f"{name} hold numbers up to {largest:g}, which float16 does not: use --dtype float32")
    return tensors


def build_memory(description: Description, tensors: Mapping[str, Tensor]) -> Memory:
    """Build a float32 memory without gradients from tensors of the right shapes, as `stored_tensors` returns them.

    Raises:
        DataError: If a number is not finite, or too large to recall images from.
    """
    numbers = {}
    kind = KINDS[description.kind]
    for name, shape in kind.tensor_shapes(description, len(tensors.get("bases", ()))).items():
        tensor = unpacked(tensors[name], shape) if tensors[name].dtype == torch.uint8 else tensors[name]
        scale = tensors.get(f"{name}.scale")
        numbers[name] = tensor.float() if scale is None else dequantised(tensor, scale)
        if not numbers[name].numel():
            raise DataError(f"{name} hold no numbers")
        if not numbers[name].isfinite().all():
            raise DataError(f"{name} hold numbers that are not finite")
    largest = numbers["images" if description.kind == "pixel" else "bases"].abs().max()
    if description.kind in ("addressable", "tasks"):  # queries by images are checked when they recall
        largest = largest * numbers["addressing"].abs().sum(-1).max()
    if not largest.isfinite():
        raise DataError("the numbers are so large that recalled images are not finite")
    return kind.from_tensors(numbers, description).requires_grad_(False)


def stored_normalisation(normalisation: Normalisation) -> dict[str, Tensor]:
    """The normalisation's tensors as they are stored.

    Raises:
        UserError: If it is neither Standardisation nor ZCA.
    """
    if isinstance(normalisation, Standardisation):
        return {"mean": normalisation.mean.double(), "std": normalisation.std.double()}
    if isinstance(normalisation, ZCA):
        return {
            "zca.eigenvalues": normalisation.eigenvalues,
            "zca.eigenvectors": normalisation.eigenvectors.float().contiguous(),
            "zca.mean": normalisation.mean,
            "zca.norm": normalisation.norm,
        }
    raise UserError(
        f"the data set's normalisation is a {type(normalisation).__name__}, and a file holds Standardisation and ZCA"
    )


def build_normalisation(description: Description, tensors: Mapping[str, Tensor]) -> Standardisation | ZCA:
    """Build the normalisation from tensors of the right shapes.

    Raises:
        DataError: If a value would make images NaN or infinite.
    """
    for name in normalisation_specs(description):
        if not tensors[name].isfinite().all():
            raise DataError(f"{name} holds numbers that are not finite")
    if description.zca_reg is None:
        if not (tensors["std"].float() > 0).all():
            raise DataError("std holds numbers that are not positive")
        return Standardisation(tensors["mean"], tensors["std"])
    values = tensors["zca.eigenvalues"]
    scales = values + description.zca_reg * values.mean()
    if values.min() < 0 or not (scales**-0.5).float().isfinite().all() or not (scales**0.5).float().isfinite().all():
        raise DataError("zca.eigenvalues hold numbers that no whitening has")
    vectors = tensors["zca.eigenvectors"].double()
    return ZCA(values, vectors, tensors["zca.mean"], tensors["zca.norm"], description.zca_reg)


def _shown(spec: tuple[torch.dtype, tuple[int, ...]] | None) -> str:
    return "missing" if spec is None else f"{str(spec[0]).removeprefix('torch.')} {spec[1]}"
