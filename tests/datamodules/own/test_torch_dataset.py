import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset, TensorDataset

from rtp.datamodules import TorchDataset
from rtp.errors import DataError, UserError


class Pairs(Dataset[Any]):
    """Whatever pairs it is given."""

    def __init__(self, *pairs: tuple[Any, Any]) -> None:
        self.pairs = pairs

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        return self.pairs[index]


class Named(Pairs):
    classes = ("cat", "dog")


def bytes_of(count: int, *shape: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(256, size=(count, *shape), dtype=np.uint8))


def test_bytes_are_kept_and_the_test_images_are_another_data_set() -> None:
    train, test = bytes_of(10, 3, 4, 6), bytes_of(5, 3, 4, 6)
    labels = torch.arange(10) % 2
    data = TorchDataset(TensorDataset(train, labels), TensorDataset(test, labels[:5]))
    assert (data.name, data.image_shape, data.class_names) == ("tensordataset", (3, 4, 6), ("0", "1"))
    images, read = data.load("train")
    assert torch.equal(images, train)
    assert torch.equal(read, labels)
    assert torch.equal(data.load("test")[0], test)
    data.setup("test")
    assert len(data.train_set[1]) + len(data.validation_set[1]) == 10
    assert len(data.test_set[1]) == 5


def test_floats_are_pixels_between_0_and_1() -> None:
    images, _ = TorchDataset(Pairs((torch.tensor([[[0.0, 0.5, 1.0]]]), 0))).load("train")
    assert images.tolist() == [[[[0, 128, 255]]]]


@pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("RGB", 3), ("RGBA", 3), ("P", 3)])
def test_pil_images(mode: str, channels: int) -> None:
    pixels = bytes_of(1, 4, 6, 3)[0].numpy()
    data = TorchDataset(Pairs(*[(Image.fromarray(pixels).convert(mode), n % 2) for n in range(4)]))
    assert data.image_shape == (channels, 4, 6)
    if mode == "RGB":
        assert torch.equal(data.load("train")[0][0], torch.from_numpy(pixels).permute(2, 0, 1))


def test_names_of_classes_are_given_or_the_data_set_s_own() -> None:
    pairs = [(bytes_of(1, 1, 2, 2)[0], label) for label in (0, 1)]
    assert TorchDataset(Named(*pairs)).class_names == ("cat", "dog")
    assert TorchDataset(Named(*pairs), class_names=["a", "b"]).class_names == ("a", "b")


def test_labels_may_be_tensors_and_numpy_s_integers() -> None:
    image = bytes_of(1, 1, 2, 2)[0]
    _, labels = TorchDataset(Pairs((image, torch.tensor(1)), (image, np.int64(0)), (image, 1.0))).load("train")
    assert labels.tolist() == [1, 0, 1]


IMAGE = torch.zeros(1, 2, 2, dtype=torch.uint8)


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ([], "The data set is empty"),
        ([(torch.full((1, 2, 2), 2.0), 0)], "Image 0 holds torch.float32 from 2 to 2, not uint8 or floats in [0, 1]"),
        ([(torch.full((1, 2, 2), torch.nan), 0)], "Image 0 holds torch.float32 from nan to nan, not uint8"),
        ([(IMAGE.int(), 0)], "Image 0 holds torch.int32 from 0 to 0, not uint8"),
        ([(torch.zeros(2, 2), 0)], "Image 0 is a tensor of shape (2, 2), not a PIL image or a tensor (C, H, W)"),
        ([(np.zeros((1, 2, 2)), 0)], "Image 0 is ndarray, not a PIL image or a tensor (C, H, W)"),
        ([(IMAGE, 0), (IMAGE[:, :1], 0)], "Image 1 has the shape (1, 1, 2), image 0 (1, 2, 2): resize or crop"),
        ([(IMAGE, "cat")], "The label of image 0 is 'cat', not an integer: number the classes from 0"),
        ([(IMAGE, 0.5)], "The label of image 0 is 0.5, not an integer"),
        ([(IMAGE, torch.tensor([0, 1]))], "The label of image 0 is tensor([0, 1]), not an integer"),
    ],
)
def test_what_is_no_labelled_image_is_named(pairs: list[tuple[Any, Any]], message: str) -> None:
    with pytest.raises(DataError, match=re.escape(message)):
        TorchDataset(Pairs(*pairs)).load("train")


def test_a_class_without_images_is_named() -> None:
    with pytest.raises(DataError, match="holds 0 images of class 'dog'"):
        TorchDataset(Named((IMAGE, 0), (IMAGE, 0))).setup("fit")


def test_there_is_no_test_split_without_test_images() -> None:
    data = TorchDataset(Pairs(*[(IMAGE, n % 2) for n in range(4)]))
    with pytest.raises(DataError, match="pairs was given no test images: pass them as `test`"):
        data.setup("test")


def test_a_stream_is_refused() -> None:
    class Stream(IterableDataset[Any]):
        def __iter__(self) -> Iterator[Any]:
            raise AssertionError("never reached")

    with pytest.raises(UserError, match="Stream has no length"):
        TorchDataset(Stream())
