"""Recalled images as files: readable by others, and nowhere but in their folder."""

import itertools
import os
import tempfile
from pathlib import Path
from typing import Any

import datasets
import pytest
import torch
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision import transforms
from torchvision.datasets import ImageFolder
from torchvision.transforms.functional import pil_to_tensor

from rtp.artefact import load
from rtp.artefact.rendering import write_ddranking, write_folders, write_parquet, write_pt
from rtp.errors import UserError
from rtp.utils.names import folder_names

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
        write_folders(memory, folder, False)
        inside = {file for file in Path(root).rglob("*") if file.is_file()}
        assert inside == set(folder.glob("*/000.png")) | {folder / "contact_sheet.png", folder / "export.json"}
        assert len(inside) == len(class_names) + 2


def test_an_image_folder_has_the_labels_and_the_pixels(tmp_path: Path, make_memory: Any) -> None:
    memory = make_memory(num_slots=12, kind="pixel")
    write_folders(memory, tmp_path / "out", False)
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


@pytest.mark.parametrize("channels", [1, 3])
def test_parquet_is_a_data_set_with_the_labels_and_the_pixels(tmp_path: Path, make_memory: Any, channels: int) -> None:
    memory = make_memory(num_slots=4, image_shape=(channels, 8, 8))
    write_parquet(memory, tmp_path / "images.parquet", False)
    found = datasets.load_dataset(
        "parquet", data_files=str(tmp_path / "images.parquet"), split="train", cache_dir=str(tmp_path / "cache")
    )
    assert found.features["label"].names == list(memory.class_names)
    assert found["label"] == [0] * 4 + [1] * 4 + [2] * 4
    pixels = torch.stack([pil_to_tensor(image) for image in found["image"]]) / 255
    torch.testing.assert_close(pixels, memory.to_pixels(memory.dataset().images), rtol=0, atol=1.01 / 255)
    with pytest.raises(UserError, match=r"exists: choose another name"):
        write_parquet(memory, tmp_path / "images.parquet", False)


def test_classes_of_one_name_are_told_apart_in_parquet(tmp_path: Path, make_memory: Any) -> None:
    write_parquet(make_memory(class_names=("a", "a", "")), tmp_path / "images.parquet", False)
    found = datasets.load_dataset(
        "parquet", data_files=str(tmp_path / "images.parquet"), split="train", cache_dir=str(tmp_path / "cache")
    )
    assert found.features["label"].names == ["000_a", "001_a", "002"]


@pytest.mark.parametrize("zca", [None, 0.1])
def test_ddranking_has_images_labels_and_transforms_that_preprocess_does(
    tmp_path: Path, make_memory: Any, zca: float | None
) -> None:
    memory = make_memory(zca=zca, dataset="cifar10")
    write_ddranking(memory, tmp_path / "out", False)
    images, labels = (torch.load(tmp_path / "out" / f"{name}.pt", weights_only=True) for name in ("images", "labels"))
    assert torch.equal(images, memory.dataset().images)
    assert torch.equal(labels, memory.dataset().labels)
    settings = yaml.safe_load((tmp_path / "out" / "config.yaml").read_text())
    assert (settings["dataset"], settings["ipc"], settings["num_epochs"]) == ("CIFAR10", 2, 300)
    raw = torch.randint(256, (8, 8, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    image = Image.fromarray(raw.numpy())
    assert load(tmp_path / "out" / "memory.safetensors").preprocess(image).shape == (3, 8, 8)
    # as DD-Ranking's Config builds them: names of torchvision's transforms with arguments
    for transform in (parts := settings["custom_val_trans"]):
        given = transform["args"]
        build = getattr(transforms, transform["name"])
        image = (build(**given) if isinstance(given, dict) else build(*given))(image)
    if zca is None:
        torch.testing.assert_close(image, memory.preprocess(raw.numpy()), rtol=1e-5, atol=1e-5)
    assert len(parts) == (2 if zca is None else 1)
    compile((tmp_path / "out" / "score.py").read_text(), "score.py", "exec")


def test_a_data_set_that_ddranking_does_not_know_is_refused(tmp_path: Path, make_memory: Any) -> None:
    with pytest.raises(UserError, match=r"^DD-Ranking does not know animals: it has cifar10, cifar100, tiny_imagenet;"):
        write_ddranking(make_memory(), tmp_path / "out", False)
    assert not (tmp_path / "out").exists()
