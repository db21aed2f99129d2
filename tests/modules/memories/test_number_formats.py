"""Number formats, against cases worked out by hand."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from rtp.modules.memories.addressable import AddressableMemory
from rtp.modules.memories.base import Memory
from rtp.modules.memories.number_formats import (
    FORMATS,
    SCALE_TYPE,
    STORED_TYPES,
    StoredType,
    dequantised,
    packed,
    quantised,
    rounded,
    stored_bits,
    unpacked,
)
from rtp.modules.memories.pixel import PixelMemory
from rtp.modules.memories.tasks import TaskMemories

INTEGERS: tuple[StoredType, ...] = ("int8", "int4")


def test_4_bits_by_hand() -> None:
    # largest 3.5 of the first row: scale 3.5 / 7 = 0.5; of the second 14 / 7 = 2; -0.26 / 0.5 = -0.52
    numbers = torch.tensor([[3.5, -0.26, 0.2, -1.0], [-14.0, 4.9, 5.1, 0.0]])
    integers, scale = quantised(numbers, "int4")
    assert scale.tolist() == [0.5, 2.0]
    assert integers.tolist() == [[7, -1, 0, -2], [-7, 2, 3, 0]]
    assert rounded(numbers, "int4").tolist() == [[3.5, -0.5, 0.0, -1.0], [-14.0, 4.0, 6.0, 0.0]]


def test_8_bits_by_hand() -> None:
    # 127 / 127 = 1 and 254 / 127 = 2
    assert rounded(torch.tensor([[127.0, 1.4], [-254.0, 1.4]]), "int8").tolist() == [[127.0, 1.0], [-254.0, 2.0]]


def test_16_bits_have_eleven_significant_ones() -> None:
    assert rounded(torch.tensor([2049.0, 2051.0]), "float16").tolist() == [2048.0, 2052.0]


@pytest.mark.parametrize("stored_as", STORED_TYPES)
def test_the_gradient_goes_straight_through(stored_as: StoredType) -> None:
    # f = sum of weight * rounded^2, so df/drounded = 2 weight rounded is also df/dnumbers
    numbers = torch.randn(5, 3, 2, generator=torch.Generator().manual_seed(0), requires_grad=True)
    weight = torch.randn(5, 3, 2, generator=torch.Generator().manual_seed(1))
    stored = rounded(numbers, stored_as)
    (weight * stored.square()).sum().backward()
    assert numbers.grad is not None
    assert torch.equal(numbers.grad, 2 * weight * stored.detach())
    assert torch.equal(stored, numbers) == (stored_as == "float32")


@pytest.mark.parametrize("stored_as", INTEGERS)
@pytest.mark.parametrize("size", [1e-30, 1e-3, 1.0, 3e30])
def test_integers_are_within_half_a_scale_and_rounding_again_changes_nothing(
    stored_as: StoredType, size: float
) -> None:
    generator = torch.Generator().manual_seed(0)
    for _ in range(50):
        numbers = size * torch.randn(20, 7, generator=generator)
        integers, scale = quantised(numbers, stored_as)
        stored = dequantised(integers, scale)
        assert ((stored - numbers).abs().double() <= 0.501 * scale.double()[:, None]).all()
        assert set(integers.abs().amax(1).tolist()) == {FORMATS[stored_as].largest}
        again = quantised(stored, stored_as)
        assert torch.equal(again[0], integers)
        assert torch.equal(again[1], scale)
        assert scale.dtype == SCALE_TYPE


@pytest.mark.parametrize("stored_as", INTEGERS)
@pytest.mark.parametrize("value", [0.0, 1e-44])
def test_rows_without_a_scale_are_zero(stored_as: StoredType, value: float) -> None:
    stored = rounded(torch.tensor([[value, -value], [1.0, -1.0]]), stored_as)
    assert stored[0].tolist() == [0, 0]
    assert stored[1].tolist() == pytest.approx([1, -1], rel=2**-8)


@pytest.mark.parametrize("stored_as", STORED_TYPES)
def test_scalars_and_beside_integers_vectors_are_not_rounded(stored_as: StoredType) -> None:
    scalar, vector = torch.tensor(1 / 3), torch.tensor([1 / 3, 1.0])
    assert torch.equal(rounded(scalar, stored_as), scalar)
    assert torch.equal(rounded(vector, stored_as), vector) == (stored_as != "float16")
    assert stored_bits((), stored_as) == 32
    assert stored_bits((2,), stored_as) == (32 if stored_as == "float16" else 64)


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (2, 3, 4), (4, 1, 3, 3), (7, 2)])
def test_two_integers_of_4_bits_share_a_byte(shape: tuple[int, ...]) -> None:
    integers = torch.randint(-8, 8, shape, generator=torch.Generator().manual_seed(0))
    pairs = packed(integers)
    assert pairs.dtype == torch.uint8
    assert pairs.shape == (shape[0], math.ceil(math.prod(shape[1:]) / 2))
    assert torch.equal(unpacked(pairs, shape), integers.to(torch.int8))


def test_packing_by_hand() -> None:
    # q + 8: 7 -> 15 below, -7 -> 1 above; 0 -> 8 below, nothing -> 8 above
    assert packed(torch.tensor([[7, -7, 0]])).tolist() == [[15 + 16 * 1, 8 + 16 * 8]]


@pytest.mark.parametrize("stored_as", STORED_TYPES)
@pytest.mark.parametrize("shape", [(3, 5), (2, 1, 7, 7), (115, 10, 16), (4,), ()])
def test_bits_are_those_of_the_tensors_in_a_file(stored_as: StoredType, shape: tuple[int, ...]) -> None:
    def in_file(tensor: Tensor) -> list[Tensor]:
        if stored_as in INTEGERS and tensor.dim() > 1:
            integers, scale = quantised(tensor, stored_as)
            return [packed(integers) if stored_as == "int4" else integers.to(FORMATS[stored_as].dtype), scale]
        whole = tensor.dim() == 0 or stored_as in INTEGERS
        return [tensor if whole else tensor.to(FORMATS[stored_as].dtype)]

    assert stored_bits(shape, stored_as) == 8 * sum(tensor.nbytes for tensor in in_file(torch.rand(shape)))


def pixels(stored_as: StoredType) -> Memory:
    return PixelMemory((1, 4, 6), 3, 1, downsampling=2, stored_as=stored_as)


def addressable(stored_as: StoredType) -> Memory:
    return AddressableMemory((1, 4, 6), 3, 2, num_bases=3, stored_as=stored_as)


def tasks(stored_as: StoredType) -> Memory:
    return TaskMemories((1, 4, 6), ((0, 2), (1, 3)), lambda: AddressableMemory((1, 4, 6), 2, 2, 2, stored_as=stored_as))


@pytest.mark.parametrize("make", [pixels, addressable, tasks])
@pytest.mark.parametrize("stored_as", ["float16", *INTEGERS])
def test_a_memory_s_gradient_is_that_at_the_rounded_numbers(
    make: Callable[[StoredType], Memory], stored_as: StoredType
) -> None:
    torch.manual_seed(0)
    learned, plain = make(stored_as), make("float32")
    # a memory of the same sizes that holds what the other one stores
    for name, parameter in learned.named_parameters():
        owner, _, attribute = name.rpartition(".")
        setattr(plain.get_submodule(owner), attribute, torch.nn.Parameter(rounded(parameter.detach(), stored_as)))
    for module in plain.modules():
        if isinstance(module, Memory):
            module.num_slots = learned.num_slots
    labels = torch.arange(learned.query_dim)
    for memory in (learned, plain):
        (
            memory.recall(labels).sin().sum() + memory.recall_queries(torch.ones(2, len(labels))).square().sum()
        ).backward()
    assert torch.equal(learned.recall(labels), plain.recall(labels))
    assert torch.equal(learned.coefficients(), plain.coefficients())
    assert torch.equal(learned.bases, plain.bases)
    theirs = dict(plain.named_parameters())
    for name, parameter in learned.named_parameters():
        expected = theirs[name].grad
        assert parameter.grad is not None
        assert expected is not None
        assert torch.equal(parameter.grad, expected)
        assert not torch.equal(parameter, theirs[name])
