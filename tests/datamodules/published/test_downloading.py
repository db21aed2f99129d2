"""Downloads are whole or leave nothing, in all sets that torchvision downloads."""

import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest
import torchvision

from rtp.datamodules import CIFAR10, CIFAR100, MNIST, SVHN, FashionMNIST
from rtp.datamodules.published.torchvision_data import TorchvisionDataModule
from rtp.errors import DataError

FullDisk = Callable[[int], AbstractContextManager[None]]
WriteMNIST = Callable[[Path], dict[str, tuple[np.ndarray, np.ndarray]]]

ALL = [MNIST, FashionMNIST, SVHN, CIFAR10, CIFAR100]


@pytest.fixture
def half_a_download(monkeypatch: pytest.MonkeyPatch) -> None:
    def write(url: str, root: Path, filename: str, md5: str) -> None:
        (Path(root) / filename).write_bytes(bytes(1000))

    for module in (torchvision.datasets.mnist, torchvision.datasets.cifar):
        monkeypatch.setattr(
            module,
            "download_and_extract_archive",
            lambda url, download_root, filename, md5: write(url, download_root, filename, md5),
        )
    monkeypatch.setattr(torchvision.datasets.svhn, "download_url", write)


def test_both_splits_are_downloaded_and_kept_files_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "new" / "root"
    data = SVHN(root=str(root))
    asked = []

    def read(split: str, folder: Path, download: bool) -> None:
        asked.append((split, download))
        (folder / f"{split}_32x32.mat").write_text(f"downloaded {split}")
        (folder / "archive.gz").touch()  # not needed any more

    monkeypatch.setattr(data, "read", read)
    data.prepare_data()
    assert asked == [("train", True), ("test", True)]
    (root / "train_32x32.mat").write_text("of the user")
    (root / "test_32x32.mat").unlink()
    data.prepare_data()
    texts = {file.name: file.read_text() for file in root.iterdir()}
    assert texts == {"train_32x32.mat": "of the user", "test_32x32.mat": "downloaded test"}


def test_archives_are_extracted_to_where_they_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write_mnist: WriteMNIST
) -> None:
    def extract(url: str, download_root: str, filename: str, md5: str) -> None:
        raw = Path(download_root)
        (raw / filename).touch()
        if not (raw / "train-images-idx3-ubyte").exists():
            shutil.rmtree(raw)  # the fixture makes it
            write_mnist(raw)

    monkeypatch.setattr(torchvision.datasets.mnist, "download_and_extract_archive", extract)
    data = MNIST(root=str(tmp_path))
    data.prepare_data()
    data.setup("test")
    found = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert found == set(data.files)


@pytest.mark.usefixtures("half_a_download")
@pytest.mark.parametrize("data_class", ALL)
def test_a_full_disk_is_said_and_leaves_nothing(
    data_class: type[TorchvisionDataModule], tmp_path: Path, full_disk: FullDisk
) -> None:
    data = data_class(root=str(tmp_path))
    kept = tmp_path / data.files[-1]
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text("whole")
    with full_disk(100), pytest.raises(DataError, match=r"^[^\n]* \(.*File too large\): make room, or set") as caught:
        data.prepare_data()
    assert f"{data.name} cannot be downloaded into {tmp_path} " in str(caught.value)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [kept]


@pytest.mark.parametrize(
    ("error", "raised", "message"),
    [
        (PermissionError(13, "Permission denied"), DataError, "Permission denied.*make room, or set root or RTP_DATA"),
        (OSError(28, "No space left on device"), DataError, "No space left.*make room, or set root or RTP_DATA_DIR"),
        (RuntimeError("File not found or\ncorrupted."), DataError, "found or corrupted.*put .* by hand"),
        (KeyboardInterrupt(), KeyboardInterrupt, "^$"),
    ],
)
def test_an_ended_download_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, raised: type[BaseException], message: str
) -> None:
    def break_off(url: str, root: Path, filename: str, md5: str) -> None:
        (Path(root) / filename).write_bytes(bytes(50))
        raise error

    monkeypatch.setattr(torchvision.datasets.svhn, "download_url", break_off)
    with pytest.raises(raised, match=message):
        SVHN(root=str(tmp_path)).prepare_data()
    assert list(tmp_path.iterdir()) == []
