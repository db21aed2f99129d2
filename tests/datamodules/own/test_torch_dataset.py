import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from rtp.datamodules import TorchDataset
from rtp.datamodules.own.torch_dataset import read_pairs
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
        ([(torch.zeros(1, 1, 2, 2), 0)], "Image 0 is a tensor of shape (1, 1, 2, 2), not (C, H, W)"),
        ([("cat.png", 0)], "Image 0 is str, not a PIL image, a tensor (C, H, W) or an array (H, W, C)"),
        (
            [(torch.zeros(8, 9, 3), 0)],
            "Image 0 has the shape (8, 9, 3), which is 8 channels and not 1 or 3: channels "
            "come first, use image.permute(2, 0, 1)",
        ),
        ([(torch.zeros(2, 8, 9), 0)], "Image 0 has the shape (2, 8, 9), which is 2 channels and not 1 or 3: choose"),
        ([(torch.zeros(4, 8, 9), 0)], "which is 4 channels"),
        ([(np.zeros((8, 9, 4), dtype=np.uint8), 0)], "Image 0 has the shape (8, 9, 4), which is 4 channels"),
        ([(np.zeros((8, 9, 2), dtype=np.uint8), 0)], "which is 2 channels"),
        ([(IMAGE, 0, "path")], "Item 0 of the data set is 3 values, not an (image, label) pair: wrap the data set"),
        ([{"image": IMAGE, "label": 0}], "Item 0 of the data set is dict, not an (image, label) pair"),
        ([(torch.full((1, 2, 2), -1, dtype=torch.int64), 0)], "Image 0 holds torch.int64 from -1 to -1, not uint8"),
        ([(IMAGE, -1)], "The label of image 0 is -1, not an integer"),
        ([(IMAGE, "3")], "The label of image 0 is '3', not an integer"),
        ([(IMAGE, None)], "The label of image 0 is None, not an integer"),
        ([(IMAGE, np.array([0, 1, 1]))], "The label of image 0 is array([0, 1, 1]), not an integer"),
        ([(IMAGE, 0), (IMAGE[:, :1], 0)], "Image 1 has the shape (1, 1, 2), image 0 (1, 2, 2): resize or crop"),
        ([(IMAGE, "cat")], "The label of image 0 is 'cat', not an integer: number the classes from 0"),
        ([(IMAGE, 0.5)], "The label of image 0 is 0.5, not an integer"),
        ([(IMAGE, torch.tensor([0, 1]))], "The label of image 0 is tensor([0, 1]), not an integer"),
    ],
)
def test_what_is_no_labelled_image_is_named(pairs: list[tuple[Any, Any]], message: str) -> None:
    with pytest.raises(DataError, match=re.escape(message)):
        TorchDataset(Pairs(*pairs)).load("train")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (UnidentifiedImageError("cannot identify image file 'a/._0.png'"), "cannot identify image file 'a/._0.png'"),
        (KeyError("label"), "'label'"),
        (RuntimeError(), "RuntimeError"),
    ],
)
def test_an_item_that_cannot_be_read_is_named(error: Exception, message: str) -> None:
    class Broken(Dataset[Any]):
        def __len__(self) -> int:
            return 3

        def __getitem__(self, index: int) -> Any:
            if index == 1:
                raise error
            return torch.zeros(1, 4, 4), 0

    with pytest.raises(DataError) as caught:
        read_pairs(Broken())
    assert str(caught.value) == f"Item 1 of the data set cannot be read ({message}): repair it or leave it out."


def test_a_class_without_images_is_named() -> None:
    with pytest.raises(DataError, match="holds 0 images of class 'dog'"):
        TorchDataset(Named((IMAGE, 0), (IMAGE, 0))).setup("fit")


def test_there_is_no_test_split_without_test_images() -> None:
    data = TorchDataset(Pairs(*[(image, n % 2) for n, image in enumerate(bytes_of(4, 1, 2, 2))]))
    with pytest.raises(DataError, match="pairs was given no test images: pass them as `test`"):
        data.setup("test")


def test_a_stream_is_refused() -> None:
    class Stream(IterableDataset[Any]):
        def __iter__(self) -> Iterator[Any]:
            raise AssertionError("never reached")

    with pytest.raises(UserError, match="Stream has no length"):
        TorchDataset(Stream())
    with pytest.raises(UserError, match="this is a dict of train, test: pass one of its values"):
        TorchDataset({"train": Pairs((IMAGE, 0)), "test": None})  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"this is a DataLoader: pass loader\.dataset"):
        TorchDataset(DataLoader(Pairs((IMAGE, 0))))  # type: ignore[arg-type]


NOISE = bytes_of(8, 5, 6, 3).numpy()


@pytest.mark.parametrize(
    "images",
    [
        NOISE,
        NOISE.transpose(0, 3, 1, 2),
        torch.from_numpy(NOISE).permute(0, 3, 1, 2),
        NOISE.astype(np.uint16) * 257,
        torch.from_numpy(NOISE.astype(np.uint16) * 257).permute(0, 3, 1, 2),
        NOISE.astype(np.float64) / 255,
    ],
    ids=["HWC", "CHW", "tensor", "uint16", "uint16 tensor", "float64"],
)
@pytest.mark.parametrize("labels", [np.arange(8) % 2, torch.arange(8) % 2, (np.arange(8) % 2)[:, None]])
def test_arrays_of_images_and_labels(images: Any, labels: Any) -> None:
    data = TorchDataset((images, labels))
    read, numbers = data.load("train")
    assert (data.name, data.class_names) == ("arrays", ("0", "1"))
    assert np.array_equal(read.numpy(), NOISE.transpose(0, 3, 1, 2))
    assert numbers.tolist() == [0, 1] * 4


def test_arrays_without_channels_are_grey() -> None:
    for images in (NOISE[..., 0], torch.from_numpy(NOISE[..., 0]), NOISE[..., :1]):
        assert TorchDataset((images, np.arange(8) % 2)).image_shape == (1, 5, 6)
    assert TorchDataset((NOISE[..., 0] > 100, np.arange(8) % 2)).load("train")[0].unique().tolist() == [0, 255]


def test_arrays_of_different_lengths_are_refused() -> None:
    with pytest.raises(UserError, match="there are 8 images, but 7 labels"):
        TorchDataset((NOISE, np.arange(7)))


@pytest.mark.parametrize("label", [[1], np.array([1]), np.array([[1]]), torch.tensor([1]), np.array(1), True])
def test_labels_of_one_element(label: Any) -> None:
    if isinstance(label, list):
        with pytest.raises(DataError, match=r"label of image 0 is \[1\], not an integer"):
            TorchDataset(Pairs((IMAGE, label))).load("train")
    else:
        assert TorchDataset(Pairs((IMAGE, label))).load("train")[1].tolist() == [1]


def test_colour_is_kept_whatever_the_first_image() -> None:
    grey, colour = Image.fromarray(NOISE[0, ..., 0]), Image.fromarray(NOISE[0])
    data = TorchDataset(Pairs((grey, 0), (colour, 1)), Pairs((grey, 0)))
    images, _ = data.load("train")
    assert images.shape == (2, 3, 5, 6)
    assert torch.equal(images[0, 0], images[0, 2])
    assert data.load("test")[0].shape == (1, 3, 5, 6)
    # colour in the test set of a grey data set becomes grey as Pillow makes it
    data = TorchDataset(Pairs((grey, 0), (grey, 1)), Pairs((colour, 0)))
    expected = np.asarray(colour.convert("L")).astype(int)
    assert np.abs(data.load("test")[0][0, 0].numpy() - expected).max() <= 1


def test_a_subset_of_classes() -> None:
    pairs = [(image, label) for image, label in zip(NOISE, [3, 5, 3, 5, 0, 1, 3, 5], strict=True)]
    data = TorchDataset(Pairs(*pairs), classes=[5, 3])
    assert data.class_names == ("5", "3")
    images, labels = data.load("train")
    assert labels.tolist() == [1, 0, 1, 0, 1, 0]
    assert np.array_equal(images[1].numpy(), NOISE[1].transpose(2, 0, 1))
    names = [*"abcdef"]
    assert TorchDataset(Pairs(*pairs), classes=[5, 3], class_names=names).class_names == ("f", "d")
    assert TorchDataset(Pairs(*pairs), classes=[5, 3], class_names=["x", "y"]).class_names == ("x", "y")


@pytest.mark.parametrize(
    ("labels", "settings", "message"),
    [
        ([3, 5], {}, "pairs has the 2 labels 3, 5 and not 0 to 1: number the classes from 0, or pass classes=[3, 5]"),
        ([0, 10**9], {}, "has the 2 labels 0, 1000000000 and not 0 to 1"),
        ([0, 1], {"class_names": ["cat"]}, "class_names has 1 names (cat), but labels go to 1: name every class"),
        ([0, 1], {"classes": [7, 8]}, "has no labels [7, 8]"),
        ([0, 0], {}, "pairs holds one class, '0', and there is nothing to tell apart"),
        ([0, 2], {"class_names": ["a", "b", "c"]}, "holds 0 images of class 'b'"),
    ],
)
def test_labels_that_do_not_fit_are_named(labels: list[int], settings: dict[str, Any], message: str) -> None:
    pairs = [(image, label) for label in labels for image in bytes_of(4, 1, 2, 2)]
    with pytest.raises(DataError, match=re.escape(message)):
        TorchDataset(Pairs(*pairs), **settings).setup("fit")


@pytest.mark.parametrize("classes", [[1, 1], [-1, 0]])
def test_classes_must_be_different_labels(classes: list[int]) -> None:
    with pytest.raises(UserError, match=r"classes is .*: give different labels, from 0"):
        TorchDataset(Pairs((IMAGE, 0)), classes=classes)
