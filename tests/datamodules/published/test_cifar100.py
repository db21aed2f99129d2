import pickle
from pathlib import Path

import numpy as np
import pytest
import torchvision
from torchvision.datasets.utils import calculate_md5

from rtp.datamodules import CIFAR100


def test_reads_pickled_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    folder = tmp_path / "cifar-100-python"
    folder.mkdir()
    pixels = generator.integers(256, size=(200, 3072), dtype=np.uint8)
    entry = {"data": pixels, "fine_labels": list(range(100)) * 2, "coarse_labels": [0] * 200}
    (folder / "train").write_bytes(pickle.dumps(entry))
    (folder / "test").write_bytes(pickle.dumps(entry))
    (folder / "meta").write_bytes(pickle.dumps({"fine_label_names": list(CIFAR100.class_names)}))
    source = torchvision.datasets.CIFAR100
    monkeypatch.setattr(source, "train_list", [["train", calculate_md5(folder / "train")]])
    monkeypatch.setattr(source, "test_list", [["test", calculate_md5(folder / "test")]])
    monkeypatch.setattr(source, "meta", {**source.meta, "md5": calculate_md5(folder / "meta")})
    data = CIFAR100(root=str(tmp_path))
    data.prepare_data()
    images, labels = data.load("train")
    assert np.array_equal(images.numpy(), pixels.reshape(200, 3, 32, 32))
    assert labels.tolist() == list(range(100)) * 2
    data.setup("test")
    assert (data.name, data.num_classes, data.image_shape) == ("cifar100", 100, (3, 32, 32))


def test_fine_classes_are_alphabetical_and_distinct() -> None:
    assert list(CIFAR100.class_names) == sorted(set(CIFAR100.class_names))
    assert (CIFAR100.class_names[0], CIFAR100.class_names[47]) == ("apple", "maple_tree")
