from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torchvision
from torchvision.datasets.utils import calculate_md5

from rtp.datamodules import SVHN


def test_reads_mat_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    images = generator.integers(256, size=(32, 32, 3, 20), dtype=np.uint8)  # MATLAB's order: H, W, C, n
    labels = np.arange(20)[:, None] % 10 + 1  # the digit 0 has the label 10
    split_list = {}
    for split, count in (("train", 20), ("test", 10)):
        path = tmp_path / f"{split}_32x32.mat"
        scipy.io.savemat(path, {"X": images[..., :count], "y": labels[:count].astype(np.uint8)})
        split_list[split] = ["", path.name, calculate_md5(path)]
    monkeypatch.setattr(torchvision.datasets.SVHN, "split_list", split_list)
    data = SVHN(root=str(tmp_path))
    data.prepare_data()
    read, digits = data.load("train")
    assert np.array_equal(read.numpy(), images.transpose(3, 2, 0, 1))
    assert digits.tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0] * 2
    data.setup("test")
    assert data.test_set[0].shape == (10, 3, 32, 32)
    assert (data.name, data.num_classes, data.class_names[0]) == ("svhn", 10, "0")
