from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from rtp.datamodules import ImageFolder
from rtp.errors import DataError, UserError

WriteImage = Callable[[Path, tuple[int, int], str], None]


@pytest.fixture
def pets(tmp_path: Path, write_image: WriteImage) -> Path:
    """Ten training images of cats and ten of dogs, 6 x 4 colour pixels, and one test image of a dog."""
    for name in ("dog", "cat"):
        for number in range(10):
            write_image(tmp_path / "Pets" / "train" / name / f"{number}.png", (6, 4), "RGB")
    write_image(tmp_path / "Pets" / "test" / "dog" / "0.png", (6, 4), "RGB")
    (tmp_path / "Pets" / "train" / "cat" / "notes.txt").touch()
    return tmp_path / "Pets"


def test_reads_folders(pets: Path) -> None:
    data = ImageFolder("Pets", root=str(pets.parent))
    assert (data.name, data.num_classes, data.image_shape) == ("pets", 2, (3, 4, 6))
    assert data.class_names == ("cat", "dog")
    images, labels = data.load("train")
    assert labels.tolist() == [0] * 10 + [1] * 10
    expected = np.asarray(Image.open(pets / "train" / "dog" / "0.png")).transpose(2, 0, 1)
    assert np.array_equal(images[10].numpy(), expected)
    # a test folder without cats keeps the labels of the training folders
    assert data.load("test")[1].tolist() == [1]
    data.prepare_data()
    data.setup("test")


def test_absolute_folder(pets: Path) -> None:
    assert len(ImageFolder(str(pets)).load("train")[0]) == 20


def test_without_test_folder_a_fixed_fifth_is_the_test_set(pets: Path) -> None:
    (pets / "test" / "dog" / "0.png").unlink()
    (pets / "test" / "dog").rmdir()
    (pets / "test").rmdir()
    (train, train_labels), (test, test_labels) = (ImageFolder(str(pets)).load(split) for split in ("train", "test"))
    assert (train_labels.bincount().tolist(), test_labels.bincount().tolist()) == ([8, 8], [2, 2])
    assert len(torch.unique(torch.cat([train, test]), dim=0)) == 20
    assert torch.equal(ImageFolder(str(pets), seed=1).load("test")[0], test)


def test_sizes_must_agree_without_image_size(pets: Path, write_image: WriteImage) -> None:
    write_image(pets / "train" / "dog" / "tall.png", (6, 9), "RGB")
    message = r"cat/0\.png has 6x4 pixels, .*dog/tall\.png has 6x9: set image_size"
    with pytest.raises(DataError, match=message):
        ImageFolder(str(pets)).setup("fit")
    data = ImageFolder(str(pets), image_size=5)
    assert data.image_shape == (3, 5, 5)
    data.setup("test")
    assert data.test_set[0].shape == (1, 3, 5, 5)


def test_grey_images_keep_one_channel_if_all_are_grey(tmp_path: Path, write_image: WriteImage) -> None:
    for name in "ab":
        for number in range(2):
            write_image(tmp_path / "train" / name / f"{number}.png", (6, 4), "L")
    assert ImageFolder(str(tmp_path)).image_shape == (1, 4, 6)
    assert ImageFolder(str(tmp_path)).load("train")[0].shape[1] == 1
    write_image(tmp_path / "train" / "b" / "2.png", (6, 4), "RGB")
    images, _ = ImageFolder(str(tmp_path)).load("train")
    assert images.shape[1] == 3
    assert torch.equal(images[0, 0], images[0, 2])


def test_one_class_is_refused(tmp_path: Path, write_image: WriteImage) -> None:
    write_image(tmp_path / "train" / "cat" / "0.png", (6, 4), "RGB")
    with pytest.raises(DataError, match=r"train holds one class, 'cat': put one folder for each class there"):
        _ = ImageFolder(str(tmp_path)).num_classes


def test_missing_folders_are_named(tmp_path: Path) -> None:
    message = f"no folder with images in {tmp_path}/pets/train: make one for each class"
    with pytest.raises(DataError, match=message):
        _ = ImageFolder("pets", root=str(tmp_path)).num_classes
    (tmp_path / "pets" / "train").mkdir(parents=True)
    with pytest.raises(DataError, match=message):
        _ = ImageFolder("pets", root=str(tmp_path)).num_classes


def test_empty_class_is_named(pets: Path) -> None:
    (pets / "train" / "horse").mkdir()
    with pytest.raises(DataError, match=r"In .*train: Found no valid file for the classes horse"):
        ImageFolder(str(pets)).setup("fit")


def test_unknown_test_class_is_named(pets: Path, write_image: WriteImage) -> None:
    write_image(pets / "test" / "horse" / "0.png", (6, 4), "RGB")
    with pytest.raises(DataError, match="test holds classes that are not in train: horse"):
        ImageFolder(str(pets)).setup("test")


def test_unreadable_image_is_named(pets: Path) -> None:
    (pets / "train" / "cat" / "3.png").write_bytes(b"not an image")
    with pytest.raises(DataError, match=r"train/cat/3\.png cannot be read as an image"):
        ImageFolder(str(pets)).setup("fit")


def test_image_size_out_of_range() -> None:
    with pytest.raises(UserError, match="image_size must be at least 1, got 0"):
        ImageFolder("pets", image_size=0)


def test_name_of_the_working_folder() -> None:
    assert ImageFolder(".").name == "image_folder"
