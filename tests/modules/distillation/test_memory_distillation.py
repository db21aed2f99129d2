"""The module: what it trains, and one outer step of algorithm 1 written out beside it."""

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from rtp.errors import UserError
from rtp.modules import ConvNet, FlipOrRotate, HigherUnroll, InnerSGD, MemoryDistillation, PixelMemory
from rtp.modules.unroll.base import draw_minibatches

SHAPE, CLASSES = (1, 4, 4), 4


def network(image_shape: tuple[int, int, int], num_classes: int) -> ConvNet:
    return ConvNet(image_shape, num_classes, width=3, depth=1)


def memory(image_shape: tuple[int, int, int], num_classes: int) -> PixelMemory:
    return PixelMemory(image_shape, num_classes, images_per_class=2)


def distillation(**settings: Any) -> MemoryDistillation:
    torch.manual_seed(0)
    module = MemoryDistillation(SHAPE, CLASSES, memory, network, HigherUnroll(2), 1, InnerSGD(0.3, 0.9), **settings)
    module.log = lambda *_, **__: None  # type: ignore[method-assign]  # there is no trainer
    return module


@pytest.fixture
def batch() -> tuple[Tensor, Tensor]:
    # a subset of the labels: Y' = {1, 3}
    generator = torch.Generator().manual_seed(1)
    return torch.randn(4, *SHAPE, generator=generator), torch.tensor([1, 1, 3, 3])


def test_the_memory_alone_is_trainable() -> None:
    assert [name for name, _ in distillation().named_parameters()] == ["memory.images"]


def test_an_outer_step_is_algorithm_1(batch: tuple[Tensor, Tensor]) -> None:
    module = distillation()
    torch.manual_seed(5)
    module.training_step(batch, 0).backward()

    torch.manual_seed(5)
    minibatches = draw_minibatches(2, 2, 1, 2)
    fresh = network(SHAPE, CLASSES)
    theta = [p.detach().requires_grad_() for p in fresh.parameters()]
    names = [name for name, _ in fresh.named_parameters()]

    def loss(images: Tensor, labels: Tensor) -> Tensor:
        weights = dict(zip(names, theta, strict=True))
        return F.cross_entropy(torch.func.functional_call(fresh, weights, (images,)), labels)

    pixels = module.memory.bases.detach().requires_grad_()
    recalled = pixels[[2, 3, 6, 7]]  # two images of class 1 and two of class 3
    labels = torch.tensor([1, 1, 3, 3])
    momentum = [torch.zeros_like(p) for p in theta]
    for chosen in minibatches:
        gradients = torch.autograd.grad(loss(recalled[chosen], labels[chosen]), theta, create_graph=True)
        momentum = [0.9 * m + g for m, g in zip(momentum, gradients, strict=True)]
        theta = [p - 0.3 * m for p, m in zip(theta, momentum, strict=True)]
    expected = torch.autograd.grad(loss(*batch), pixels)[0]

    assert module.memory.bases.grad is not None
    torch.testing.assert_close(module.memory.bases.grad, expected)
    assert expected[[0, 1, 4, 5]].abs().max() == 0  # classes that were not sampled
    assert expected[[2, 3, 6, 7]].abs().max() > 0


def test_augmentation_is_siamese(batch: tuple[Tensor, Tensor], monkeypatch: pytest.MonkeyPatch) -> None:
    applied: list[Tensor] = []
    original = FlipOrRotate.apply

    def record(self: FlipOrRotate, images: Tensor, parameters: Tensor) -> Tensor:
        applied.append(parameters)
        return original(self, images, parameters)

    monkeypatch.setattr(FlipOrRotate, "apply", record)
    distillation(augmentation=FlipOrRotate()).training_step(batch, 0)
    recalled, real = applied
    assert len(recalled) == 1
    assert torch.equal(recalled, real)


def test_every_step_has_a_fresh_network() -> None:
    module = distillation()
    first, second = module.fresh_network(network), module.fresh_network(network)
    assert not torch.equal(next(first.parameters()), next(second.parameters()))


def test_the_outer_optimizer_has_the_papers_values() -> None:
    optimizer = distillation().configure_optimizers()
    assert isinstance(optimizer, torch.optim.SGD)
    (group,) = optimizer.param_groups
    assert (group["lr"], group["momentum"]) == (0.1, 0.5)


def test_recall_is_what_predict_returns() -> None:
    module = distillation()
    labels = torch.tensor([3, 0])
    assert torch.equal(module.predict_step(labels), module.memory.recall(labels))


def test_an_empty_minibatch_is_refused() -> None:
    with pytest.raises(UserError, match="slots_per_class must be at least 1, got 0"):
        MemoryDistillation(SHAPE, CLASSES, memory, network, HigherUnroll(2), 0)


def test_the_gradient_is_clipped_at_a_multiple_of_its_average_norm() -> None:
    module = distillation(clip_factor=2.0)
    optimizer = module.configure_optimizers()
    assert isinstance(optimizer, torch.optim.Optimizer)
    (images,) = module.memory.parameters()
    norms = []
    for norm in (1.0, 4.0, 1.0, 0.5):
        images.grad = torch.full_like(images, norm / images.numel() ** 0.5)
        module.on_before_optimizer_step(optimizer)
        module.configure_gradient_clipping(optimizer)
        norms.append(float(images.grad.norm()))
    # averages before each step: 1 (its own), 1, 0.9 + 0.4, 0.9 * 1.3 + 0.1; so only 4 is above twice its average
    assert norms == pytest.approx([1.0, 2.0, 1.0, 0.5], rel=1e-4)
    checkpoint: dict[str, Any] = {"state_dict": module.state_dict(), "rtp_seed": 0, "global_step": 4}
    module.on_save_checkpoint(checkpoint)
    resumed = distillation(clip_factor=2.0)
    resumed.on_load_checkpoint(checkpoint)
    assert resumed._average_norm == module._average_norm == pytest.approx(0.9 * (0.9 * 1.3 + 0.1) + 0.05)


@pytest.mark.parametrize("factor", [0.0, -1.0, float("nan")])
def test_a_clip_factor_that_is_not_positive_is_refused(factor: float) -> None:
    with pytest.raises(UserError, match="clip_factor"):
        distillation(clip_factor=factor)


def test_the_outer_rate_follows_its_schedule() -> None:
    schedule = partial(torch.optim.lr_scheduler.StepLR, step_size=1, gamma=0.5)
    configured: Any = distillation(lr_scheduler=schedule).configure_optimizers()
    optimizer, scheduler = configured["optimizer"], configured["lr_scheduler"]["scheduler"]
    assert configured["lr_scheduler"]["interval"] == "step"
    optimizer.step()
    scheduler.step()
    assert optimizer.param_groups[0]["lr"] == 0.05
