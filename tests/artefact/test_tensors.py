"""Numbers in a file: rounded as much as their type asks for, and refused where images would not be finite."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch

from rtp.artefact.tensors import (
    build_memory,
    build_normalisation,
    memory_specs,
    num_bytes,
    stored_normalisation,
    stored_tensors,
)
from rtp.errors import DataError, UserError


@pytest.mark.parametrize("kind", ["addressable", "pixel", "image", "tasks"])
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [("float32", 0), ("float16", 2**-11), ("int8", 0.5 / 127), ("int4", 0.5 / 7)]
)  # of the largest number
def test_a_memory_comes_back_as_exactly_as_its_type_allows(
    make_memory: Any, kind: str, dtype: Any, tolerance: float
) -> None:
    memory = make_memory(kind=kind, downsampling=1)
    rounded = memory.stored_as(dtype)
    difference = (rounded.memory.bases - memory.memory.bases).abs().max()
    assert difference <= tolerance * memory.memory.bases.abs().max() * 1.005
    assert (difference > 0) == (dtype != "float32")
    assert not any(parameter.requires_grad for parameter in rounded.memory.parameters())
    again, recalled = rounded.stored_as(dtype).memory.state_dict(), rounded.memory.state_dict()
    assert all(torch.equal(again[name], recalled[name]) for name in recalled)  # bit for bit


def test_bytes_count_the_scales(make_memory: Any) -> None:
    description = make_memory().description  # 5 bases of 3x4x4 and 2 matrices of 3x5
    assert num_bytes(memory_specs(description, 5)) == 4 * (240 + 30)
    assert num_bytes(memory_specs(replace(description, stored_as="float16"), 5)) == 2 * (240 + 30)
    assert num_bytes(memory_specs(replace(description, stored_as="int8"), 5)) == 240 + 30 + 2 * (5 + 2)
    assert num_bytes(memory_specs(replace(description, stored_as="int4"), 5)) == 5 * 24 + 2 * 8 + 2 * (5 + 2)
    pixel = replace(description, kind="pixel", stored_as="int8")
    assert num_bytes(memory_specs(pixel, 0)) == 6 * 48 + 2 * 6


def test_a_number_that_float16_does_not_hold_is_refused(make_memory: Any) -> None:
    memory = make_memory()
    memory.memory.addressing[0, 0, 0] = 1e6
    with pytest.raises(UserError, match=r"^addressing hold numbers up to 1e\+06, which float16 does not: use --dtype"):
        memory.stored_as("float16")
    memory.memory.addressing[0, 0, 0] = math.inf
    for dtype in ("float32", "int8"):
        with pytest.raises(UserError, match=r"finite"):
            memory.stored_as(dtype)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", ["bases", "addressing"])
def test_numbers_that_are_not_finite_are_refused(make_memory: Any, bad: float, name: str) -> None:
    memory = make_memory()
    stored = stored_tensors(memory.memory.to_tensors(), memory.description.stored_as)
    stored[name].view(-1)[3] = bad
    with pytest.raises(DataError, match=rf"^{name} hold numbers that are not finite"):
        build_memory(memory.description, stored)


@pytest.mark.parametrize("kind", ["addressable", "image", "tasks"])
def test_a_memory_without_bases_is_refused(make_memory: Any, kind: str) -> None:
    memory = make_memory(kind=kind)
    stored = stored_tensors(memory.memory.to_tensors(), memory.description.stored_as)
    stored["bases"], stored["addressing"] = stored["bases"][:0], stored["addressing"][:, :, :0]
    with pytest.raises(DataError, match=r"^bases hold no numbers"):
        build_memory(memory.description, stored)


def test_numbers_whose_products_are_not_finite_are_refused(make_memory: Any) -> None:
    memory = make_memory()
    stored = {
        name: 1e30 * value
        for name, value in stored_tensors(memory.memory.to_tensors(), memory.description.stored_as).items()
    }
    with pytest.raises(DataError, match=r"so large that recalled images are not finite"):
        build_memory(memory.description, stored)


@pytest.mark.parametrize(
    ("zca", "name", "bad"),
    [
        (None, "mean", math.nan),
        (None, "std", 0.0),
        (None, "std", -1.0),
        (None, "std", 1e-300),  # 0 in float32
        (0.1, "zca.eigenvalues", -1.0),
        (0.1, "zca.eigenvalues", math.inf),
        (0.1, "zca.eigenvalues", 1e200),
        (0.1, "zca.eigenvectors", math.nan),
        (0.1, "zca.norm", math.nan),
    ],
)
def test_a_normalisation_that_no_data_have_is_refused(make_memory: Any, zca: Any, name: str, bad: float) -> None:
    memory = make_memory(zca=zca)
    stored = {key: value.clone() for key, value in stored_normalisation(memory.normalisation).items()}
    stored[name].view(-1)[0] = bad
    with pytest.raises(DataError, match=name):
        build_normalisation(memory.description, stored)


def test_another_normalisation_is_refused() -> None:
    class Own:
        apply = invert = staticmethod(lambda images: images)

    with pytest.raises(UserError, match=r"normalisation is a Own, and a file holds Standardisation and ZCA"):
        stored_normalisation(Own())
