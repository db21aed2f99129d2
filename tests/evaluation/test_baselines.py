"""Sets of real images and of their centres, on points whose means, clusters and features are known."""

import re

import pytest
import torch
from torch import Tensor, nn

from rtp.datamodules import Digits
from rtp.errors import UserError
from rtp.evaluation.baselines import (
    baseline_sets,
    class_centres,
    features_of,
    herded_images,
    images_of_equal_storage,
    random_real_images,
)
from rtp.modules import ConvNet, FlipOrRotate
from rtp.modules.networks.training import TrainingProtocol

SHORT, LONG = TrainingProtocol(epochs=2), TrainingProtocol(epochs=2, batch_size=32, learning_rate=0.1)


def points(*values: float) -> Tensor:
    """Images of one pixel."""
    return torch.tensor(values, dtype=torch.float32)[:, None, None, None]


@pytest.mark.parametrize(
    ("storage", "images"),
    [(608, 1), (640, 1), (959, 1), (961, 2), (6400, 10), (10, 1)],  # an image of each of 10 classes takes 640
)
def test_the_nearest_number_of_images_takes_equal_storage(storage: int, images: int) -> None:
    assert images_of_equal_storage(storage, 10, 64) == images


def test_random_real_images_are_balanced_and_distinct() -> None:
    labels = torch.tensor([0] * 5 + [1] * 3 + [2] * 4)
    images = torch.arange(12.0)[:, None, None, None]
    torch.manual_seed(0)
    drawn, answers = random_real_images(images, labels, 3)
    assert answers.tolist() == [0] * 3 + [1] * 3 + [2] * 3
    assert torch.equal(labels[drawn.flatten().long()], answers)
    assert len(set(drawn.flatten().tolist())) == 9
    again, _ = random_real_images(images, labels, 3)
    assert not torch.equal(drawn, again)


def test_one_centre_is_the_mean_of_the_class() -> None:
    centres, labels = class_centres(points(1, 10, 3, 20, 5), torch.tensor([0, 1, 0, 1, 0]), 1, seed=0)
    assert centres.flatten().tolist() == [3, 15]
    assert labels.tolist() == [0, 1]


def test_centres_are_the_means_of_the_clusters_of_each_class() -> None:
    images = points(0, 10, 2, 12, 100, 200, 100, 200)
    centres, labels = class_centres(images, torch.tensor([0] * 4 + [1] * 4), 2, seed=0)
    assert centres.shape == (4, 1, 1, 1)
    assert sorted(centres.flatten().tolist()) == [1, 11, 100, 200]
    assert set(centres[labels == 0].flatten().tolist()) == {1, 11}


def test_centres_follow_from_the_seed_and_leave_the_global_generator_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rtp.evaluation.baselines.KMEANS_MOST_IMAGES", 20)  # of 40: the draw matters too
    images, labels = torch.randn(80, 1, 3, 3), torch.arange(80) % 2
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    first, _ = class_centres(images, labels, 5, seed=0)
    assert torch.equal(torch.rand(1), expected)
    again, _ = class_centres(images, labels, 5, seed=0)
    other, _ = class_centres(images, labels, 5, seed=1)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_equal_images_have_equal_centres() -> None:
    centres, _ = class_centres(points(4, 4, 4), torch.zeros(3, dtype=torch.long), 2, seed=0)
    assert centres.flatten().tolist() == [4, 4]


def test_a_class_with_too_few_images_is_named() -> None:
    images, labels = points(0, 0, 0), torch.tensor([0, 0, 1])
    with pytest.raises(UserError, match=re.escape("class 1 has 1 images, fewer than the 2")):
        random_real_images(images, labels, 2)
    with pytest.raises(UserError, match=re.escape("class 1 has 1 images, fewer than the 2")):
        class_centres(images, labels, 2, seed=0)
    with pytest.raises(UserError, match=re.escape("class 1 has 1 images, fewer than the 2")):
        herded_images(images.flatten(1), labels, 2)


def test_images_are_herded_class_by_class() -> None:
    # class 0: mean 4 of 0, 3, 9: first 3, then with 3 the mean 1.5 of 0 or 6 of 9; class 1: mean 20 of 10, 19, 31
    features = torch.tensor([[0.0], [10.0], [3.0], [19.0], [9.0], [31.0]])
    labels = torch.tensor([0, 1, 0, 1, 0, 1])
    assert herded_images(features, labels, 2).tolist() == [2, 4, 3, 5]


def test_features_are_what_the_last_layer_sees(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rtp.evaluation.baselines.CHUNK_SIZE", 3)
    images, network = torch.randn(7, 1, 4, 4), ConvNet((1, 4, 4), 3, width=2, depth=1)
    features = features_of(network, images)
    assert features.shape == (7, 8)
    torch.testing.assert_close(network.classifier(features), network(images))
    foreign = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    torch.testing.assert_close(features_of(foreign, images), foreign(images))


@pytest.mark.parametrize(("per_class", "name"), [(1, "class means"), (3, "k-means centres")])
def test_the_sets_of_a_storage_and_what_they_are_charged(per_class: int, name: str) -> None:
    data = Digits()
    data.setup("fit")
    built: list[nn.Module] = []

    def network() -> nn.Module:
        built.append(ConvNet(data.image_shape, data.num_classes, width=4, depth=1))
        return built[-1]

    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    sets = baseline_sets(data, per_class * 640 - 32, SHORT, LONG, network, FlipOrRotate(), seed=0)
    assert torch.equal(torch.rand(1), expected)
    assert [training_set.name for training_set in sets] == ["random real", "herding", name, "all real"]
    assert [training_set.protocol for training_set in sets] == [SHORT, SHORT, SHORT, LONG]
    floats = per_class * 640
    assert [training_set.storage_floats for training_set in sets] == [floats, floats, floats, 1295 * 64]
    # 8 bits for a pixel, 32 for a number of a mean
    assert [training_set.storage_bytes for training_set in sets] == [floats, floats, 4 * floats, 1295 * 64]
    for training_set in sets[:3]:
        images, labels = training_set.draw()
        assert images.shape == (10 * per_class, 1, 8, 8)
        assert labels.tolist() == [label for label in range(10) for _ in range(per_class)]
    (trained,) = built  # one network, and it was trained: its features are better than those of a fresh one
    hits = (trained(data.validation_set[0]).argmax(1) == data.validation_set[1]).float().mean()
    assert hits > 0.5
    images, labels = data.train_set
    herded = images[herded_images(features_of(trained, images), labels, per_class)]
    assert torch.equal(sets[1].draw()[0], herded)
    assert torch.equal(sets[2].draw()[0], sets[2].draw()[0])
    assert not torch.equal(sets[0].draw()[0], sets[0].draw()[0])
