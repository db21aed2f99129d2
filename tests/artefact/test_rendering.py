"""Recalled images as files: readable by others, and nowhere but in their folder."""

import itertools
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from torchvision.datasets import ImageFolder
from torchvision.transforms.functional import pil_to_tensor

from rtp.artefact.rendering import folder_names, write_png, write_pt

TRICKS = (
    "../../x",
    "",
    "a/b",
    "CON",
    "a\0b",
    "n" * 300,
    "..",
    ".",
    "~",
    "C:\\x",
    "\ud800",
    "名" * 300,
    " x ",
    "-rf",
    "x\n",
)
names = st.lists(st.one_of(st.sampled_from(TRICKS), st.text(max_size=300)), min_size=1, max_size=30)


@settings(deadline=None, derandomize=True, max_examples=40)
@example(list(TRICKS) * 2)
@given(names)
def test_a_folder_name_is_one_harmless_part_of_a_path(class_names: list[str]) -> None:
    folders = folder_names(tuple(class_names))
    assert len({name.lower() for name in folders}) == len(class_names)
    assert folders == sorted(folders)
    for name in folders:
        assert len(os.fsencode(name)) < 100
        assert name[:3].isdigit()
        assert not set(name) & set('/\\:*?"<>|.\0\n ')
        assert name.isprintable()


@settings(deadline=None, derandomize=True, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(list(TRICKS) * 2)
@given(st.lists(st.text(max_size=300), min_size=1, max_size=4))
def test_nothing_is_written_outside_of_the_folder(make_memory: Any, class_names: list[str]) -> None:
    memory = make_memory(class_names=tuple(class_names), num_slots=1)
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root) / "a" / "out"
        write_png(memory, folder, False)
        inside = {file for file in Path(root).rglob("*") if file.is_file()}
        assert inside == set(folder.glob("*/000.png")) | {folder / "contact_sheet.png", folder / "export.json"}
        assert len(inside) == len(class_names) + 2


def test_an_image_folder_has_the_labels_and_the_pixels(tmp_path: Path, make_memory: Any) -> None:
    memory = make_memory(num_slots=12, kind="pixel")
    write_png(memory, tmp_path / "out", False)
    found = ImageFolder(str(tmp_path / "out"))
    assert found.classes == ["000_cat", "001_dog", "002____cow"]
    assert found.targets == list(itertools.chain.from_iterable([label] * 12 for label in range(3)))
    pixels = torch.stack([pil_to_tensor(image) for image, _ in found]) / 255
    torch.testing.assert_close(pixels, memory.to_pixels(memory.dataset().images), rtol=0, atol=0.51 / 255)


def test_a_pt_file_is_a_plain_dict(tmp_path: Path, make_memory: Any) -> None:
    memory = make_memory(zca=0.1)
    write_pt(memory, tmp_path / "images.pt", False)
    saved = torch.load(tmp_path / "images.pt", weights_only=True)
    assert set(saved) == {"images", "labels"}
    assert torch.equal(saved["images"], memory.dataset().images)
    assert saved["labels"].tolist() == [0, 0, 1, 1, 2, 2]


@pytest.mark.parametrize(("count", "first"), [(3, "000"), (1000, "000"), (1001, "0000")])
def test_numbers_have_the_same_digits(count: int, first: str) -> None:
    assert folder_names(("",) * count)[0] == first
