"""Which files of a folder are images of a class, whatever links there are."""

from collections import Counter
from pathlib import Path

import pytest

from rtp.datamodules.own.class_folders import class_folders, image_files, loose_files
from rtp.errors import DataError


@pytest.fixture
def train(tmp_path: Path) -> Path:
    """Two classes of one image each, one of them in a folder below."""
    folder = tmp_path / "pets" / "train"
    for place in ("cat/1.png", "dog/young/2.JPG"):
        (folder / place).parent.mkdir(parents=True)
        (folder / place).touch()
    return folder


def names_of(folder: Path) -> list[str]:
    return [Path(file).name for file in image_files(folder, Counter())]


def test_images_lie_in_all_folders_below_a_class(train: Path) -> None:
    assert class_folders(train) == ["cat", "dog"]
    assert names_of(train / "cat") == ["1.png"]
    assert names_of(train / "dog") == ["2.JPG"]


def test_other_files_are_counted_and_hidden_ones_are_not(train: Path) -> None:
    for name in ("notes.txt", "raw.heic", "README", ".DS_Store", "._1.png"):
        (train / "cat" / name).touch()
    left_out: Counter[str] = Counter()
    assert len(image_files(train / "cat", left_out)) == 1
    assert left_out == {".txt": 1, ".heic": 1, "without a suffix": 1}
    (train / "index.csv").touch()
    assert loose_files(train) == 1


@pytest.mark.parametrize("target", [".", "..", "../..", "/"])
def test_a_class_that_is_a_link_to_a_folder_above_is_none(train: Path, target: str) -> None:
    (train / "all").symlink_to(target)
    assert class_folders(train) == ["cat", "dog"]


@pytest.mark.parametrize("target", [".", "..", "../..", "/"])
def test_a_link_in_a_class_to_a_folder_above_is_not_followed(train: Path, target: str) -> None:
    (train / "cat" / "link").symlink_to(target)
    assert names_of(train / "cat") == ["1.png"]


def test_nor_one_in_a_class_that_is_a_link_itself(train: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere" / "horse"
    elsewhere.mkdir(parents=True)
    (elsewhere / "3.png").touch()
    (train / "horse").symlink_to(elsewhere)
    assert class_folders(train) == ["cat", "dog", "horse"]
    for number, target in enumerate((train, train.parent, elsewhere.parent)):
        (elsewhere / f"link{number}").symlink_to(target)
    assert names_of(train / "horse") == ["3.png"]


def test_a_folder_without_classes_is_named(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(DataError, match="There is no folder with images in"):
            class_folders(folder)
