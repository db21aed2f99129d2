"""The errors that all sets of torchvision share."""

from pathlib import Path
from urllib.error import URLError

import pytest
import torchvision

from rtp.datamodules import CIFAR10, CIFAR100, MNIST, SVHN, FashionMNIST
from rtp.datamodules.published.torchvision_data import TorchvisionDataModule
from rtp.errors import DataError

ALL = [MNIST, FashionMNIST, SVHN, CIFAR10, CIFAR100]


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise URLError("Name or service not known")

    for module in (torchvision.datasets.mnist, torchvision.datasets.cifar):
        monkeypatch.setattr(module, "download_and_extract_archive", refuse)
    monkeypatch.setattr(torchvision.datasets.svhn, "download_url", refuse)


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("data_class", ALL)
def test_failed_download_says_what_to_put_where(data_class: type[TorchvisionDataModule], tmp_path: Path) -> None:
    data = data_class(root=str(tmp_path))
    with pytest.raises(DataError) as caught:
        data.prepare_data()
    message = str(caught.value)
    assert f"{data.name} cannot be downloaded" in message
    assert "Name or service not known" in message
    assert f"into {tmp_path} by hand" in message
    assert all(file in message for file in data.files)
    assert "\n" not in message


@pytest.mark.parametrize("data_class", ALL)
def test_missing_files_are_listed(data_class: type[TorchvisionDataModule], tmp_path: Path) -> None:
    data = data_class(root=str(tmp_path))
    (tmp_path / data.files[0]).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / data.files[0]).touch()
    with pytest.raises(DataError, match=f"not found in {tmp_path}: call prepare_data") as caught:
        data.setup("fit")
    assert all(file in str(caught.value) for file in data.files[1:])
    assert f"{data.files[0]}," not in str(caught.value)


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("data_class", ALL)
def test_present_files_are_not_downloaded_and_damage_is_told(
    data_class: type[TorchvisionDataModule], tmp_path: Path
) -> None:
    data = data_class(root=str(tmp_path))
    for file in data.files:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_bytes(b"neither idx nor pickle")
    data.prepare_data()
    with pytest.raises(DataError, match=r"One of the files .* is damaged \(.*\): delete them and run again") as caught:
        data.setup("fit")
    assert str((tmp_path / data.files[0]).parent) in str(caught.value)
    assert "\n" not in str(caught.value)
