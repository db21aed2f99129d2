import struct
from collections.abc import Callable
from pathlib import Path

import datasets
import numpy as np
import pytest
from PIL import Image

WriteMNIST = Callable[[Path], dict[str, tuple[np.ndarray, np.ndarray]]]
WriteImage = Callable[[Path, tuple[int, int], str], None]


@pytest.fixture(autouse=True)
def empty_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is read from or written to the user's folders."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("RTP_DATA_DIR", raising=False)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache" / "datasets")


@pytest.fixture
def write_image() -> WriteImage:
    """A function that writes random pixels of a size (width, height) and a PIL mode."""
    generator = np.random.default_rng(0)

    def write(path: Path, size: tuple[int, int], mode: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        shape = size[::-1] if mode == "L" else (*size[::-1], 3)
        Image.fromarray(generator.integers(256, size=shape, dtype=np.uint8)).save(path)

    return write


@pytest.fixture
def write_mnist() -> WriteMNIST:
    """A function that writes 20 training and 10 test images as MNIST's four files and returns them."""
    generator = np.random.default_rng(0)

    def write_idx(path: Path, values: np.ndarray) -> None:
        """Write unsigned bytes (type 8) in the idx format: type, number of axes, their lengths, values."""
        header = struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape)
        path.write_bytes(header + values.astype(np.uint8).tobytes())

    def write(folder: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        folder.mkdir(parents=True)
        written = {}
        for split, prefix, count in (("train", "train", 20), ("test", "t10k", 10)):
            images = generator.integers(256, size=(count, 28, 28), dtype=np.uint8)
            labels = np.arange(count) % 10
            write_idx(folder / f"{prefix}-images-idx3-ubyte", images)
            write_idx(folder / f"{prefix}-labels-idx1-ubyte", labels)
            written[split] = (images, labels)
        return written

    return write
