"""Episodes of a memory that is addressed by images: disjoint, labelled anew, and with gradients that are right."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from rtp.errors import UserError
from rtp.modules import (
    ConvNet,
    HigherUnroll,
    ImageAddressedDistillation,
    ImageAddressing,
    InnerSGD,
    PixelMemory,
    StepwiseUnroll,
    Unroll,
)
from rtp.modules.distillation.image_distillation import FewShot

SHAPE, CLASSES = (1, 4, 4), 6


def network(image_shape: tuple[int, int, int], num_classes: int) -> ConvNet:
    return ConvNet(image_shape, num_classes, width=3, depth=1)


def memory(image_shape: tuple[int, int, int], num_classes: int) -> ImageAddressing:
    return ImageAddressing(image_shape, num_classes, network, query_dim=4, num_bases=5, num_slots=3)


def distillation(unroll: Unroll = HigherUnroll(3), shots: tuple[int, ...] = (2,)) -> ImageAddressedDistillation:  # noqa: B008
    torch.manual_seed(0)
    module = ImageAddressedDistillation(
        SHAPE, CLASSES, memory, network, unroll, 2, shots=shots, inner_optimizer=InnerSGD(0.3, 0.9)
    )
    module.log = lambda *_, **__: None  # type: ignore[method-assign]  # there is no trainer
    return module


@pytest.fixture
def batch() -> tuple[Tensor, Tensor]:
    # five images of each of the classes 1, 3 and 4
    generator = torch.Generator().manual_seed(1)
    return torch.randn(15, *SHAPE, generator=generator), torch.tensor([1, 3, 4]).repeat_interleave(5)


def test_queries_and_outer_images_are_disjoint(batch: tuple[Tensor, Tensor], monkeypatch: pytest.MonkeyPatch) -> None:
    images, labels = batch
    module, seen = distillation(), []
    recall = ImageAddressing.recall_images

    def record(self: ImageAddressing, queries: Tensor) -> Tensor:
        seen.append(queries)
        return recall(self, queries)

    monkeypatch.setattr(ImageAddressing, "recall_images", record)
    episode, ways = module.episode(images, labels)
    (queries,) = seen
    assert ways == 3
    assert torch.equal(queries, images[[0, 1, 5, 6, 10, 11]])
    assert torch.equal(episode.real_images, images[[2, 3, 4, 7, 8, 9, 12, 13, 14]])
    assert episode.real_labels.tolist() == [0] * 3 + [1] * 3 + [2] * 3
    assert torch.equal(episode.images, recall(module.memory, queries).flatten(0, 1))
    assert episode.labels.tolist() == [0] * 6 + [1] * 6 + [2] * 6  # two shots recall three images each
    assert episode.minibatches.shape == (3, 3 * 2)
    assert (episode.labels[episode.minibatches].sort(1).values == torch.tensor([0, 0, 1, 1, 2, 2])).all()


def test_a_step_draws_one_of_the_numbers_of_shots(batch: tuple[Tensor, Tensor]) -> None:
    module = distillation(shots=(1, 4))
    outer = [len(module.episode(*batch)[0].real_labels) for _ in range(40)]
    assert set(outer) == {12, 3}


def gradients(module: ImageAddressedDistillation, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
    module.zero_grad()
    torch.manual_seed(5)
    module.training_step(batch, 0).backward()
    return {name: p.grad.clone() for name, p in module.memory.named_parameters() if p.grad is not None}


@pytest.fixture
def in_float64() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.usefixtures("in_float64")
def test_both_engines_give_bases_addressing_and_feature_network_the_gradient_of_finite_differences(
    batch: tuple[Tensor, Tensor],
) -> None:
    double = batch[0].double(), batch[1]
    module = distillation()
    found = gradients(module, double)
    stepwise = gradients(distillation(StepwiseUnroll(3, compile=False)), double)
    assert set(found) == {name for name, _ in module.memory.named_parameters()}
    for name, parameter in module.memory.named_parameters():
        torch.testing.assert_close(stepwise[name], found[name], rtol=1e-8, atol=1e-12)
        direction = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(3))
        losses = []
        for step in (1e-5, -1e-5):
            with torch.no_grad():
                parameter.add_(direction, alpha=step)
            torch.manual_seed(5)
            losses.append(float(module.training_step(double, 0).detach()))
            with torch.no_grad():
                parameter.sub_(direction, alpha=step)
        slope = float((found[name] * direction).sum())
        assert (losses[0] - losses[1]) / 2e-5 == pytest.approx(slope, rel=1e-4, abs=1e-9), name
    for part in ("_bases", "addressing", "feature_network.features.0.0.weight", "feature_network.classifier.weight"):
        assert found[part].abs().max() > 1e-6


def test_all_three_parts_are_the_outer_optimizer_s() -> None:
    module = distillation()
    optimizer = module.configure_optimizers()
    assert isinstance(optimizer, torch.optim.SGD)
    assert len(optimizer.param_groups[0]["params"]) == len(list(module.memory.parameters())) == 8


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shots": ()}, r"shots is \[\], but must hold at least one number"),
        ({"shots": (0, 5)}, r"shots is \[0, 5\], but must hold at least one number, each at least 1"),
        ({"few_shot": FewShot(ways=7)}, r"ways is 7, but there are 6 classes: choose a number from 2 to 6"),
        ({"slots_per_class": 0}, r"slots_per_class must be at least 1, got 0"),
        (
            {"memory": lambda shape, classes: PixelMemory(shape, classes, 1)},
            r"learns a memory that is addressed by images, and this one is addressed by labels: change model.memory",
        ),
    ],
)
def test_what_does_not_fit_is_refused(change: dict[str, object], message: str) -> None:
    arguments = {
        "memory": memory,
        "network": network,
        "unroll": HigherUnroll(2),
        "slots_per_class": 1,
        "shots": (1,),
    }
    with pytest.raises(UserError, match=message):
        ImageAddressedDistillation(SHAPE, CLASSES, **(arguments | change))  # type: ignore[arg-type]


def test_test_tasks_without_shots_are_refused() -> None:
    with pytest.raises(UserError, match=r"few_shot.shots is \[\], but must hold"):
        FewShot(shots=())


def test_what_is_recalled_by_new_shots_trains_networks_once_it_is_learned() -> None:
    generator = torch.Generator().manual_seed(2)
    prototypes = torch.randn(CLASSES, *SHAPE, generator=generator)
    module = distillation(HigherUnroll(5), shots=(1, 2))
    module.network = lambda image_shape, ways: ConvNet(image_shape, ways, width=8, depth=1)

    def loss() -> Tensor:
        classes = torch.randperm(CLASSES, generator=generator)[:3].sort().values
        labels = classes.repeat_interleave(8)
        noise = torch.randn(len(labels), *SHAPE, generator=generator)
        return module.outer_loss(prototypes[labels] + 0.3 * noise, labels)

    def mean_loss() -> float:
        return sum(float(loss().detach()) for _ in range(20)) / 20

    before = mean_loss()
    optimizer = torch.optim.Adam(module.memory.parameters(), lr=0.01)
    for _ in range(200):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
    assert before > 0.9  # of networks that know nothing it is ln 3
    assert mean_loss() < 0.7
