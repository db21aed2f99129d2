import pickle
from pathlib import Path

import numpy as np
import pytest
import torchvision
from torchvision.datasets.utils import calculate_md5

from rtp.datamodules import CIFAR10
from rtp.errors import DataError


@pytest.fixture
def batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, np.ndarray]:
    """The pixels of five training batches and a test batch of 10 images each, also written to files."""
    generator = np.random.default_rng(0)
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    names = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]
    written = {name: generator.integers(256, size=(10, 3072), dtype=np.uint8) for name in names}
    for name, pixels in written.items():
        (folder / name).write_bytes(pickle.dumps({"data": pixels, "labels": list(range(10))}))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": list(CIFAR10.class_names)}))
    md5 = {path.name: calculate_md5(path) for path in folder.iterdir()}
    source = torchvision.datasets.CIFAR10
    monkeypatch.setattr(source, "train_list", [[name, md5[name]] for name in names[:5]])
    monkeypatch.setattr(source, "test_list", [["test_batch", md5["test_batch"]]])
    monkeypatch.setattr(source, "meta", {**source.meta, "md5": md5["batches.meta"]})
    return written


def test_reads_pickled_batches(batches: dict[str, np.ndarray], tmp_path: Path) -> None:
    data = CIFAR10(root=str(tmp_path))
    data.prepare_data()
    images, labels = data.load("train")
    expected = np.concatenate([pixels for name, pixels in batches.items() if name != "test_batch"])
    assert np.array_equal(images.numpy(), expected.reshape(50, 3, 32, 32))  # the red plane first
    assert labels.tolist() == list(range(10)) * 5
    data.setup("test")
    assert len(data.test_set[0]) == 10
    assert (data.name, data.num_classes, data.class_names[3]) == ("cifar10", 10, "cat")


@pytest.mark.usefixtures("batches")
def test_changed_file_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "cifar-10-batches-py" / "data_batch_3").open("ab") as file:
        file.write(b"!")
    with pytest.raises(DataError, match=r"data_batch_3.* in .*cifar-10-batches-py is damaged .*: delete them"):
        CIFAR10(root=str(tmp_path)).setup("fit")
