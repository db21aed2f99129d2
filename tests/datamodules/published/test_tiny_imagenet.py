import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from urllib.error import URLError
from zipfile import ZipFile

import numpy as np
import pytest
import torch
from PIL import Image

from rtp.datamodules import TinyImageNet
from rtp.datamodules.published import tiny_imagenet
from rtp.errors import DataError

# 200 WordNet ids that are not written in sorted order
WNIDS = [f"n{(7 * number) % 200:08d}" for number in range(200)]


def level(wnid: str) -> int:
    """The grey level of the images of a class: JPEG keeps a constant image as it is."""
    return int(wnid[1:]) + 20


def write_tree(folder: Path) -> None:
    """Two training images, a grey and a colour one, and one validation image of each class."""
    names = "".join(f"{wnid}\tname of {int(wnid[1:])}, synonym\n" for wnid in reversed(WNIDS))
    for wnid in WNIDS:
        images = folder / "train" / wnid / "images"
        images.mkdir(parents=True)
        (images.parent / f"{wnid}_boxes.txt").touch()
        grey = Image.new("L", (64, 64), level(wnid))
        grey.save(images / f"{wnid}_0.JPEG")
        grey.convert("RGB").save(images / f"{wnid}_1.JPEG")
    validation = folder / "val" / "images"
    validation.mkdir(parents=True)
    for number, wnid in enumerate(WNIDS):
        Image.new("RGB", (64, 64), (level(wnid),) * 3).save(validation / f"val_{number}.JPEG")
    rows = [f"val_{number}.JPEG\t{wnid}\t0\t0\t63\t63\n" for number, wnid in enumerate(WNIDS)]
    (validation.parent / "val_annotations.txt").write_text("".join(rows))
    (folder / "wnids.txt").write_text("\n".join(WNIDS))  # without a newline at the end
    (folder / "words.txt").write_text("n99999999\tnot one of the classes\n" + names)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tree")
    write_tree(root / "tiny-imagenet-200")
    return root


@pytest.fixture(scope="module")
def archive(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    root = tmp_path_factory.mktemp("archive")
    with ZipFile(root / "tiny-imagenet-200.zip", "w") as file:
        for path in tree.rglob("*"):
            file.write(path, path.relative_to(tree))
    root.chmod(0o500)  # read-only
    yield root
    root.chmod(0o700)


@pytest.mark.parametrize("layout", ["tree", "archive"])
def test_reads_folder_and_zip(layout: str, request: pytest.FixtureRequest) -> None:
    data = TinyImageNet(root=str(request.getfixturevalue(layout)))
    data.prepare_data()
    train, train_labels = data.load("train")
    test, test_labels = data.load("test")
    assert (train.shape, test.shape) == ((400, 3, 64, 64), (200, 3, 64, 64))
    # classes are sorted by WordNet id, so the label of a class is the number in its id here
    assert torch.equal(train[:, 0, 0, 0].long(), train_labels + 20)
    assert torch.equal(test[:, 2, 63, 63].long(), test_labels + 20)
    assert test_labels.tolist() == [int(wnid[1:]) for wnid in WNIDS]
    assert data.class_names[:2] == ("name of 0", "name of 1")
    assert len(data.class_names) == data.num_classes == 200
    assert data.name == "tiny_imagenet"


def test_setup(tree: Path) -> None:
    data = TinyImageNet(root=str(tree))
    data.setup("test")
    assert data.train_set[1].bincount().tolist() == data.validation_set[1].bincount().tolist() == [1] * 200


def test_download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def download(url: str, root: Path, name: str, md5: str) -> None:
        asked.append((url, name, len(md5)))
        (root / name).touch()

    monkeypatch.setattr(tiny_imagenet, "download_url", download)
    TinyImageNet(root=str(tmp_path)).prepare_data()
    assert asked == [("http://cs231n.stanford.edu/tiny-imagenet-200.zip", "tiny-imagenet-200.zip", 32)]
    assert [path.name for path in tmp_path.iterdir()] == ["tiny-imagenet-200.zip"]


def test_failed_download_says_what_to_put_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise URLError("Name or service not known")

    monkeypatch.setattr(tiny_imagenet, "download_url", refuse)
    with pytest.raises(DataError, match=rf"not known.*: put tiny-imagenet-200\.zip from .*, or .* into {tmp_path} by"):
        TinyImageNet(root=str(tmp_path)).prepare_data()


def test_a_download_onto_a_full_disk_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, full_disk: Callable[[int], AbstractContextManager[None]]
) -> None:
    monkeypatch.setattr(tiny_imagenet, "download_url", lambda url, root, name, md5: (root / name).write_bytes(bytes(9)))
    with full_disk(5), pytest.raises(DataError, match=r"^[^\n]* \(.*File too large\): make room, or set root or RTP_"):
        TinyImageNet(root=str(tmp_path)).prepare_data()
    assert list(tmp_path.iterdir()) == []  # or else the next run would take the half for a damaged file


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"{tmp_path}/tiny-imagenet-200\.zip is missing or damaged"):
        TinyImageNet(root=str(tmp_path)).setup("fit")


@pytest.mark.parametrize("part", [0.001, 0.5])
def test_truncated_zip_is_named(archive: Path, part: float, tmp_path: Path) -> None:
    whole = (archive / "tiny-imagenet-200.zip").read_bytes()
    (tmp_path / "tiny-imagenet-200.zip").write_bytes(whole[: int(part * len(whole))])
    with pytest.raises(DataError, match=r"tiny-imagenet-200\.zip is missing or damaged \(File is not a zip file\)"):
        TinyImageNet(root=str(tmp_path)).setup("fit")


def test_changed_image_in_the_zip_is_noticed(archive: Path, tmp_path: Path) -> None:
    content = np.fromfile(archive / "tiny-imagenet-200.zip", dtype=np.uint8)
    with ZipFile(archive / "tiny-imagenet-200.zip") as file:
        offset = file.getinfo("tiny-imagenet-200/train/n00000003/images/n00000003_0.JPEG").header_offset
    content[offset + 300] ^= 255
    content.tofile(tmp_path / "tiny-imagenet-200.zip")
    with pytest.raises(DataError, match=r"damaged \(Bad CRC-32"):
        TinyImageNet(root=str(tmp_path)).setup("fit")


@pytest.mark.parametrize("name", ["wnids.txt", "words.txt"])
def test_incomplete_folder_is_named(name: str, tmp_path: Path) -> None:
    write_tree(tmp_path / "tiny-imagenet-200")
    os.remove(tmp_path / "tiny-imagenet-200" / name)
    with pytest.raises(DataError, match=rf"tiny-imagenet-200 is missing or damaged .*{name}"):
        _ = TinyImageNet(root=str(tmp_path)).class_names


@pytest.mark.parametrize("content", [b"n00000001\tl\xe9opard\n", b"a line of one column\n"])
def test_words_that_cannot_be_read_are_named(content: bytes, tmp_path: Path) -> None:
    write_tree(tmp_path / "tiny-imagenet-200")
    (tmp_path / "tiny-imagenet-200" / "words.txt").write_bytes(content)
    with pytest.raises(DataError, match=r"^\S*tiny-imagenet-200 is missing or damaged \([^\n]*\): delete it"):
        _ = TinyImageNet(root=str(tmp_path)).class_names
