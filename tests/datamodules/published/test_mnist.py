import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from rtp.datamodules import MNIST
from rtp.errors import DataError

WriteMNIST = Callable[[Path], dict[str, tuple[np.ndarray, np.ndarray]]]

ROOT = os.environ.get("RTP_DATA_DIR", "data")


def test_reads_idx_files(tmp_path: Path, write_mnist: WriteMNIST) -> None:
    written = write_mnist(tmp_path / "MNIST" / "raw")
    data = MNIST(root=str(tmp_path))
    data.prepare_data()
    for split in ("train", "test"):
        images, labels = data.load(split)
        assert np.array_equal(images[:, 0].numpy(), written[split][0])
        assert np.array_equal(labels.numpy(), written[split][1])
    data.setup("test")
    assert data.test_set[0].shape == (10, 1, 28, 28)
    assert data.class_names == ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9")


def test_truncated_file_is_told(tmp_path: Path, write_mnist: WriteMNIST) -> None:
    write_mnist(tmp_path / "MNIST" / "raw")
    os.truncate(tmp_path / "MNIST" / "raw" / "train-images-idx3-ubyte", 5000)
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte, .* is damaged"):
        MNIST(root=str(tmp_path)).setup("fit")


@pytest.mark.skipif(
    not Path(ROOT, "MNIST", "raw").is_dir(),
    reason=f"the real MNIST files are not in {ROOT}/MNIST/raw (RTP_DATA_DIR)",
)
def test_real_files() -> None:
    data = MNIST(root=ROOT)
    data.prepare_data()
    data.setup("fit")
    _, labels = data.load("test")
    assert len(data.train_set[0]) + len(data.validation_set[0]) == 60_000
    # a tenth of 5,923 zeros, ... 5,949 nines, each rounded
    assert data.validation_set[1].bincount().tolist() == [592, 674, 596, 613, 584, 542, 592, 626, 585, 595]
    # digits in the published test set
    assert labels.bincount().tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    whole = data.load("train")[0].double() / 255
    assert (whole.mean().item(), whole.std().item()) == pytest.approx((0.1307, 0.3081), abs=1e-4)  # as published
    assert torch.equal(data.load("train")[1][:5], torch.tensor([5, 0, 4, 1, 9]))
