from collections.abc import Callable
from pathlib import Path

import numpy as np

from rtp.datamodules import FashionMNIST

WriteMNIST = Callable[[Path], dict[str, tuple[np.ndarray, np.ndarray]]]


def test_reads_its_own_folder(tmp_path: Path, write_mnist: WriteMNIST) -> None:
    written = write_mnist(tmp_path / "FashionMNIST" / "raw")
    data = FashionMNIST(root=str(tmp_path))
    data.prepare_data()
    images, labels = data.load("test")
    assert np.array_equal(images[:, 0].numpy(), written["test"][0])
    assert np.array_equal(labels.numpy(), written["test"][1])
    assert (data.name, data.num_classes, data.class_names[9]) == ("fashion_mnist", 10, "Ankle boot")
