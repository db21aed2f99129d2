import numpy as np
import torch
from sklearn.datasets import load_digits

from rtp.datamodules import Digits


def test_all_images_once_with_a_fixed_test_set() -> None:
    data, other = Digits(), Digits(seed=1)
    train, test = data.load("train"), data.load("test")
    assert (data.name, data.num_classes, data.image_shape) == ("digits", 10, (1, 8, 8))
    assert len(train[0]) + len(test[0]) == 1797
    # a fifth of each of the ten classes, of 174 to 183 images
    assert test[1].bincount().tolist() == [round(0.2 * n) for n in np.bincount(load_digits().target)]
    assert torch.equal(other.load("test")[0], test[0])


def test_pixels_are_scaled_to_bytes() -> None:
    original = torch.from_numpy(load_digits().images)
    images = torch.cat([Digits().load("train")[0], Digits().load("test")[0]])
    assert images.dtype == torch.uint8
    # 255 / 16 times the values, each rounded by at most 1/2
    scaled = original.double().mean().item() * 255 / 16
    assert abs(images.double().mean().item() - scaled) < 0.5
    assert torch.unique(images).tolist() == [round(value * 255 / 16) for value in range(17)]


def test_setup() -> None:
    data = Digits()
    data.prepare_data()
    data.setup("test")
    assert len(data.train_set[0]) + len(data.validation_set[0]) + len(data.test_set[0]) == 1797
