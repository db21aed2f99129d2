import os
import shutil
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
    message = r"cat/0\.png has 6x4 pixels, .*dog/tall\.png has 6x9: .* set image_size"
    with pytest.raises(DataError, match=message):
        ImageFolder(str(pets)).setup("fit")
    data = ImageFolder(str(pets), image_size=5)
    assert data.image_shape == (3, 5, 5)
    data.setup("test")
    assert data.test_set[0].shape == (1, 3, 5, 5)


def test_grey_images_keep_one_channel_if_all_are_grey(tmp_path: Path, write_image: WriteImage) -> None:
    for name in "ab":
        for number in range(3):
            write_image(tmp_path / "train" / name / f"{number}.png", (6, 4), "L")
    assert ImageFolder(str(tmp_path)).image_shape == (1, 4, 6)
    assert ImageFolder(str(tmp_path)).load("train")[0].shape[1] == 1
    write_image(tmp_path / "train" / "b" / "3.png", (6, 4), "RGB")
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
    with pytest.raises(DataError, match=r"train holds no images of the classes horse: remove the folders"):
        ImageFolder(str(pets)).setup("fit")


def test_unknown_test_class_is_named(pets: Path, write_image: WriteImage) -> None:
    write_image(pets / "test" / "horse" / "0.png", (6, 4), "RGB")
    with pytest.raises(DataError, match="test holds classes that are not in train: horse"):
        ImageFolder(str(pets)).setup("fit")  # hours before the test
    (pets / "test").rename(pets / "valid")
    with pytest.raises(DataError, match="valid holds classes that are not in train: horse"):
        ImageFolder(str(pets)).setup("fit")


def test_unreadable_image_is_named(pets: Path) -> None:
    (pets / "train" / "cat" / "3.png").write_bytes(b"not an image")
    with pytest.raises(DataError, match=r"train/cat/3\.png cannot be read as an image"):
        ImageFolder(str(pets)).setup("fit")


def test_image_size_out_of_range() -> None:
    with pytest.raises(UserError, match="image_size must be at least 1, got 0"):
        ImageFolder("pets", image_size=0)


def test_name_of_the_working_folder() -> None:
    assert ImageFolder(".").name == "image_folder"


@pytest.mark.parametrize("size", [(0, 4), (4, -1)])
def test_sides_out_of_range(size: tuple[int, int]) -> None:
    with pytest.raises(UserError, match=f"image_size must be at least 1, got {min(size)}"):
        ImageFolder("pets", image_size=size)


def test_image_size_of_another_shape_than_a_square(pets: Path) -> None:
    data = ImageFolder(str(pets), image_size=(2, 3))
    assert data.image_shape == (3, 2, 3)
    assert data.load("train")[0].shape == (20, 3, 2, 3)


def test_hidden_names_are_no_data(pets: Path, write_image: WriteImage) -> None:
    expected = ImageFolder(str(pets)).load("train")[0]
    write_image(pets / "train" / ".ipynb_checkpoints" / "0-checkpoint.png", (6, 4), "RGB")
    (pets / "test" / ".ipynb_checkpoints").mkdir()
    (pets / "train" / "cat" / "._0.png").write_bytes(b"what macOS leaves on a memory stick")
    write_image(pets / "train" / "cat" / ".thumbnails" / "0.png", (3, 2), "RGB")
    (pets / ".DS_Store").touch()
    data = ImageFolder(str(pets))
    data.setup("test")
    assert data.class_names == ("cat", "dog")
    assert torch.equal(data.load("train")[0], expected)


def test_what_is_left_out_is_counted(pets: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "rtp")
    (pets / "train" / "cat" / "more.TXT").touch()
    (pets / "train" / "dog" / "raw.heic").touch()
    (pets / "train" / "index.csv").touch()
    ImageFolder(str(pets)).load("train")
    (line,) = [record.message for record in caplog.records if "left out" in record.message]
    assert line.endswith(
        "train: 20 images read, 4 files left out (1 .TXT, 1 .txt, 1 .heic, 1 beside the class folders)"
    )


def test_links_pipes_and_devices(pets: Path) -> None:
    cat = pets / "train" / "cat"
    (cat / "again").symlink_to(pets / "train" / "cat")  # a loop
    (cat / "above").symlink_to("..")  # a loop by way of the other classes
    (cat / "root").symlink_to(pets)
    (cat / "itself.png").symlink_to(cat / "itself.png")
    (cat / "null.png").symlink_to("/dev/null")
    os.mkfifo(cat / "pipe.png")
    (cat / "gone.png").symlink_to(cat / "nothing.png")
    (pets / "train" / "horse").symlink_to(pets / "train" / "dog")  # a class may be a link
    data = ImageFolder(str(pets))
    assert data.load("train")[1].bincount().tolist() == [10, 10, 10]


@pytest.mark.parametrize("name", ["val", "valid", "validation"])
def test_a_validation_folder_is_the_validation_set(
    pets: Path, write_image: WriteImage, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "rtp")
    for number in range(3):
        write_image(pets / name / "dog" / f"{number}.png", (6, 4), "RGB")
    data = ImageFolder(str(pets))
    data.setup("test")
    assert data.train_set[1].bincount().tolist() == [10, 10]
    assert data.validation_set[1].tolist() == [1, 1, 1]
    assert data.test_set[1].tolist() == [1]
    assert "test set" not in caplog.text
    shutil.rmtree(pets / "test")
    data = ImageFolder(str(pets))
    data.setup("test")
    assert (len(data.train_set[1]), len(data.validation_set[1]), len(data.test_set[1])) == (16, 3, 4)
    assert "test: a fixed fifth of train is the test set" in caplog.text


def test_files_without_class_folders_are_named(tmp_path: Path, write_image: WriteImage) -> None:
    write_image(tmp_path / "train" / "0.png", (6, 4), "RGB")
    with pytest.raises(DataError, match=r"no folder with images in .*train: make one for each class, such as .*cat"):
        _ = ImageFolder(str(tmp_path)).num_classes


def test_deep_and_transparent_images(tmp_path: Path) -> None:
    for name, level in (("a", 0), ("b", 40_000)):
        (tmp_path / "train" / name).mkdir(parents=True)
        for number in range(3):
            values = np.full((4, 4), level, dtype=np.uint16)
            values[0] = number * 10_000
            Image.fromarray(values).save(tmp_path / "train" / name / f"{number}.png")
    images, labels = ImageFolder(str(tmp_path)).load("train")
    assert images.shape[1:] == (1, 4, 4)
    assert images[labels == 1][:, 0, 1].unique().tolist() == [156]  # 40000 / 257
    drawing = Image.new("LA", (4, 4))
    drawing.save(tmp_path / "train" / "a" / "drawing.png")
    images, _ = ImageFolder(str(tmp_path), ground=9).load("train")
    assert 9 in images.unique().tolist()


def test_a_class_too_small_for_three_parts_is_named(tmp_path: Path, write_image: WriteImage) -> None:
    for name, count in (("cat", 5), ("dog", 2)):
        for number in range(count):
            write_image(tmp_path / "train" / name / f"{number}.png", (6, 4), "RGB")
    message = "train holds 2 images of class 'dog', but training, validation and test need one each, as there"
    with pytest.raises(DataError, match=message):
        ImageFolder(str(tmp_path)).setup("fit")
