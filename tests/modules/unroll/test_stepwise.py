"""The stepwise engine against `HigherUnroll`, finite differences and truncation written out."""

import shutil
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rtp.errors import UserError
from rtp.modules import MLP, AddressableMemory, AlexNet, ConvNet, FlipOrRotate, Memory, PixelMemory, ResNet12
from rtp.modules.augmentations.base import Augmentation
from rtp.modules.memories.tasks import TaskMemories
from rtp.modules.unroll.base import Episode, RealImages, Unroll, WeightLoss
from rtp.modules.unroll.higher import HigherUnroll
from rtp.modules.unroll.inner_optimizer import InnerAdam, InnerOptimizer, InnerSGD
from rtp.modules.unroll.step.functions import step_functions
from rtp.modules.unroll.stepwise import StepwiseUnroll, outer_loss_and_grad, part_size
from rtp.modules.unroll.window import LastSteps, RandomWindow

SHAPE, CLASSES, STEPS = (1, 8, 8), 3, 6

OPTIMIZERS = {
    "none": InnerSGD(0.2, 0.9, "none"),
    "forward_only": InnerSGD(0.2, 0.9, "forward_only"),
    "full": InnerSGD(0.2, 0.9, "full"),
    "adam": InnerAdam(0.01),
}


def rated(memory: AddressableMemory) -> AddressableMemory:
    """With a rate factor other than 1, whose powers are all the same."""
    assert memory.log_rate is not None
    nn.init.constant_(memory.log_rate, 0.4)
    return memory


MEMORIES: dict[str, Callable[[], Memory]] = {
    "addressable": lambda: AddressableMemory(SHAPE, CLASSES, images_per_class=2, num_bases=2),
    "pixel": lambda: PixelMemory(SHAPE, CLASSES, images_per_class=2),
    "addressable with a rate": lambda: rated(AddressableMemory(SHAPE, CLASSES, 2, num_bases=2, learned_rate=True)),
    "tasks": lambda: TaskMemories(SHAPE, ((0,), (1,), (2,)), lambda: AddressableMemory(SHAPE, 1, 2, num_bases=2)),
}


def episode_of(
    memory: Memory, augmentation: Augmentation | None = None, objective: WeightLoss | None = None
) -> Episode:
    """Recalled images of two of the three classes, drawn the same way at every call."""
    torch.manual_seed(3)
    classes = torch.tensor([0, 2])
    images = memory.recall(classes).flatten(0, 1)
    real = torch.randn(6, *SHAPE, dtype=torch.float64).to(images.dtype)
    if augmentation is not None:
        siamese = augmentation.sample(1, "cpu")
        images, real = augmentation.apply(images, siamese), augmentation.apply(real, siamese)
    minibatches = torch.randint(len(images), (STEPS, 5))
    labels = classes.repeat_interleave(memory.num_slots)
    outer = objective or RealImages(real, torch.tensor([0, 2, 0, 2, 0, 2]))
    return Episode(images, labels, minibatches, outer, memory.rate_factor)


def gradients(
    unroll: Unroll,
    memory: Memory,
    network: nn.Module,
    optimizer: InnerOptimizer,
    augmentation: Augmentation | None = None,
    objective: WeightLoss | None = None,
) -> tuple[Tensor, Tensor]:
    """The meta-loss and its gradient as one vector."""
    memory.zero_grad()
    loss = unroll.meta_loss(network, optimizer, episode_of(memory, augmentation, objective))
    loss.backward()
    return loss.detach(), torch.cat([p.grad.flatten() for p in memory.parameters() if p.grad is not None])


def relative_error(value: Tensor, reference: Tensor) -> float:
    return float((value - reference).norm() / reference.norm())


@pytest.mark.parametrize("augmentation", [None, FlipOrRotate()], ids=["plain", "augmented"])
@pytest.mark.parametrize("memory", MEMORIES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_gradient_is_that_of_higher(optimizer: str, memory: str, augmentation: Augmentation | None) -> None:
    torch.manual_seed(0)
    stored, network = MEMORIES[memory]().double(), ConvNet(SHAPE, CLASSES, width=4, depth=2).double()
    rule = OPTIMIZERS[optimizer]
    loss, gradient = gradients(StepwiseUnroll(STEPS, compile=False), stored, network, rule, augmentation)
    expected_loss, expected = gradients(HigherUnroll(STEPS), stored, network, rule, augmentation)
    torch.testing.assert_close(loss, expected_loss, rtol=1e-12, atol=0)
    assert relative_error(gradient, expected) < 1e-10


def distance(weights: Tensor) -> Tensor:
    """A distance to some weights, different for each of them."""
    return (weights - torch.linspace(-1, 1, len(weights), dtype=weights.dtype)).pow(4).sum()


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_an_objective_has_the_gradient_of_higher(optimizer: str) -> None:
    torch.manual_seed(0)
    memory, network = MEMORIES["addressable"]().double(), ConvNet(SHAPE, CLASSES, width=4, depth=2).double()
    rule = OPTIMIZERS[optimizer]
    loss, gradient = gradients(StepwiseUnroll(STEPS, compile=False), memory, network, rule, objective=distance)
    expected_loss, expected = gradients(HigherUnroll(STEPS), memory, network, rule, objective=distance)
    torch.testing.assert_close(loss, expected_loss, rtol=1e-12, atol=0)
    assert relative_error(gradient, expected) < 1e-10
    _, on_real_images = gradients(HigherUnroll(STEPS), memory, network, rule)
    assert relative_error(gradient, on_real_images) > 0.1


@pytest.mark.parametrize("steps_kept", [2, STEPS])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_kept_activations_give_the_same_gradient(optimizer: str, steps_kept: int) -> None:
    torch.manual_seed(0)
    memory, network = MEMORIES["addressable"]().double(), ConvNet(SHAPE, CLASSES, width=4, depth=2).double()
    theta = nn.utils.parameters_to_vector(network.parameters()).detach()
    images = torch.zeros(5, *SHAPE, dtype=torch.float64)
    one = step_functions(network).keeping.num_bytes(theta, images, torch.zeros(5, dtype=torch.long))
    room = StepwiseUnroll(STEPS, compile=False, activation_cache_gb=(steps_kept + 0.5) * one / 1e9)
    loss, gradient = gradients(room, memory, network, OPTIMIZERS[optimizer])
    expected_loss, expected = gradients(HigherUnroll(STEPS), memory, network, OPTIMIZERS[optimizer])
    torch.testing.assert_close(loss, expected_loss, rtol=1e-12, atol=0)
    assert relative_error(gradient, expected) < 1e-10


@pytest.mark.parametrize(
    "build",
    [
        lambda: MLP((1, 16, 16), CLASSES, hidden_width=8),
        lambda: AlexNet((1, 16, 16), CLASSES, widths=(3, 3, 3, 3, 3)),
        lambda: ResNet12((1, 16, 16), CLASSES, widths=(2, 2, 2, 2)),
    ],
    ids=["MLP", "AlexNet", "ResNet12"],
)
def test_every_network_has_the_gradient_of_higher(
    build: Callable[[], nn.Module], monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    monkeypatch.setattr(f"{__name__}.SHAPE", (1, 16, 16))
    memory, network = PixelMemory((1, 16, 16), CLASSES, images_per_class=2).double(), build().double()
    _, gradient = gradients(StepwiseUnroll(STEPS, compile=False), memory, network, InnerSGD(0.02))
    _, expected = gradients(HigherUnroll(STEPS), memory, network, InnerSGD(0.02))
    assert relative_error(gradient, expected) < 1e-10


@pytest.mark.parametrize("stored", ["addressable", "addressable with a rate"])
@pytest.mark.parametrize("optimizer", ["full", "adam"])
def test_the_gradient_equals_central_differences(optimizer: str, stored: str) -> None:
    torch.manual_seed(0)
    memory, network = MEMORIES[stored]().double(), ConvNet(SHAPE, CLASSES, width=3, depth=1).double()
    unroll, rule = StepwiseUnroll(STEPS, compile=False), OPTIMIZERS[optimizer]
    _, gradient = gradients(unroll, memory, network, rule)
    direction = torch.randn(len(gradient), dtype=torch.float64)
    values = nn.utils.parameters_to_vector(memory.parameters()).detach()
    step = 1e-6  # truncation error O(step^2), rounding error O(1e-16 / step)

    def at(distance: float) -> float:
        nn.utils.vector_to_parameters(values + distance * direction, memory.parameters())
        return unroll.meta_loss(network, rule, episode_of(memory)).item()

    difference = (at(step) - at(-step)) / (2 * step)
    torch.testing.assert_close(float(gradient @ direction), difference, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("unroll", [StepwiseUnroll(STEPS, compile=False), HigherUnroll(STEPS)], ids=["step", "higher"])
def test_a_rate_factor_is_a_factor_of_the_rate(unroll: Unroll) -> None:
    torch.manual_seed(0)
    memory, network = MEMORIES["addressable with a rate"]().double(), ConvNet(SHAPE, CLASSES, width=3, depth=1).double()
    episode = episode_of(memory)
    loss = unroll.meta_loss(network, InnerSGD(0.1), episode)
    plain = replace(episode, rate_factor=None)
    assert memory.rate_factor is not None
    faster = unroll.meta_loss(network, InnerSGD(0.1 * memory.rate_factor.item()), plain)
    torch.testing.assert_close(loss, faster, rtol=1e-12, atol=0)
    assert not torch.isclose(loss, unroll.meta_loss(network, InnerSGD(0.1), plain), rtol=1e-3)


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler for the CPU")
@pytest.mark.parametrize("activation_cache_gb", [0, 1])
def test_compiled_float32_is_close_to_higher_in_float64(activation_cache_gb: float) -> None:
    torch.manual_seed(0)
    memory, network = MEMORIES["addressable"](), ConvNet(SHAPE, CLASSES, width=4, depth=2)
    unroll = StepwiseUnroll(STEPS, compile=True, activation_cache_gb=activation_cache_gb)
    loss, gradient = gradients(unroll, memory, network, InnerSGD(0.05))
    again, _ = gradients(unroll, memory, ConvNet(SHAPE, CLASSES, width=4, depth=2), InnerSGD(0.05))
    assert not torch.equal(loss, again)  # another network, not the one that was compiled
    weight_loss, weight_gradient = gradients(unroll, memory, network, InnerSGD(0.05), objective=distance)
    reference = HigherUnroll(STEPS), memory.double(), network.double(), InnerSGD(0.05)
    _, expected = gradients(*reference)
    assert relative_error(gradient.double(), expected) < 1e-4
    expected_loss, expected = gradients(*reference, objective=distance)
    torch.testing.assert_close(weight_loss.double(), expected_loss, rtol=1e-5, atol=0)
    assert relative_error(weight_gradient.double(), expected) < 1e-4


def test_the_outer_loss_in_parts_is_that_of_all_real_images() -> None:
    assert part_size(640, 100) == 80
    assert part_size(640, 1000) == 640
    assert part_size(641, 100) == 641  # a prime number
    torch.manual_seed(0)
    memory, network = MEMORIES["pixel"]().double(), ConvNet(SHAPE, CLASSES, width=4, depth=1).double()
    real = episode_of(memory).objective  # six real images
    assert isinstance(real, RealImages)
    functions = step_functions(network)
    theta = nn.utils.parameters_to_vector(network.parameters()).detach()
    expected = functions.outer_loss_and_grad(theta, real.images, real.labels)
    for value, whole in zip(outer_loss_and_grad(functions, theta, real, 3), expected, strict=True):
        torch.testing.assert_close(value, whole, rtol=1e-13, atol=1e-15)


def test_bfloat16_is_near_float32_and_not_equal() -> None:
    torch.manual_seed(0)
    memory, network = MEMORIES["pixel"](), ConvNet(SHAPE, CLASSES, width=4, depth=2)
    _, exact = gradients(StepwiseUnroll(STEPS, compile=False), memory, network, InnerSGD(0.05))
    _, rounded = gradients(StepwiseUnroll(STEPS, compile=False, precision="bf16"), memory, network, InnerSGD(0.05))
    assert 1e-4 < relative_error(rounded, exact) < 0.2  # bfloat16 has 8 significant bits


def test_other_precisions_are_refused_and_tensor_float_is_the_process_s() -> None:
    with pytest.raises(UserError, match=r"got 'tf32': TF32 is a setting of the whole process, --tf32 true$"):
        StepwiseUnroll(STEPS, precision="tf32")  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"precision must be one of fp32, bf16, got 'fp64'$"):
        StepwiseUnroll(STEPS, precision="fp64")  # type: ignore[arg-type]


def test_a_window_as_long_as_the_loop_is_no_window() -> None:
    torch.manual_seed(0)
    memory, network = MEMORIES["pixel"]().double(), ConvNet(SHAPE, CLASSES, width=4, depth=1).double()
    whole = gradients(StepwiseUnroll(STEPS, compile=False), memory, network, InnerSGD(0.1))
    for window in (LastSteps(STEPS), RandomWindow(STEPS)):
        windowed = gradients(StepwiseUnroll(STEPS, window, compile=False), memory, network, InnerSGD(0.1))
        assert all(torch.equal(a, b) for a, b in zip(windowed, whole, strict=True))


def test_a_window_differentiates_its_steps_alone() -> None:
    torch.manual_seed(0)
    memory, network = MEMORIES["pixel"]().double(), ConvNet(SHAPE, CLASSES, width=4, depth=1).double()
    _, gradient = gradients(StepwiseUnroll(STEPS, LastSteps(2), compile=False), memory, network, InnerSGD(0.1, 0.9))

    memory.zero_grad()
    episode = episode_of(memory)
    names = [name for name, _ in network.named_parameters()]
    theta = [parameter.detach() for parameter in network.parameters()]
    momentum = [torch.zeros_like(p) for p in theta]

    def loss(images: Tensor, labels: Tensor) -> Tensor:
        weights = dict(zip(names, theta, strict=True))
        return F.cross_entropy(torch.func.functional_call(network, weights, (images,)), labels)

    for t, batch in enumerate(episode.minibatches):
        inside = t >= STEPS - 2
        theta = [p if inside and t > STEPS - 2 else p.detach().requires_grad_() for p in theta]
        momentum = [m if inside and t > STEPS - 2 else m.detach() for m in momentum]
        images = episode.images[batch] if inside else episode.images[batch].detach()
        inner = torch.autograd.grad(loss(images, episode.labels[batch]), theta, create_graph=inside)
        momentum = [0.9 * m + g for m, g in zip(momentum, inner, strict=True)]
        theta = [p - 0.1 * m for p, m in zip(theta, momentum, strict=True)]
    assert isinstance(episode.objective, RealImages)
    loss(episode.objective.images, episode.objective.labels).backward()
    assert memory.bases.grad is not None
    assert relative_error(gradient, memory.bases.grad.flatten()) < 1e-12


def test_networks_with_running_statistics_are_refused() -> None:
    network = nn.Sequential(nn.BatchNorm2d(1), nn.Flatten(), nn.Linear(64, CLASSES))
    with pytest.raises(UserError, match=r"does not support Sequential, whose buffers change .* or HigherUnroll"):
        StepwiseUnroll(STEPS).meta_loss(network, InnerSGD(), episode_of(MEMORIES["pixel"]()))


def test_networks_that_draw_random_numbers_are_refused() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(64, CLASSES))
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    with pytest.raises(UserError, match=r"does not support Sequential, which draws random numbers: leave dropout out"):
        StepwiseUnroll(STEPS)._functions(network, torch.zeros(2, *SHAPE))
    assert torch.equal(torch.rand(1), expected)
    StepwiseUnroll(STEPS, compile=False)._functions(network.eval(), torch.zeros(2, *SHAPE))


class Branching(nn.Module):
    """Does what cannot be traced."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(64, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.linear(images.flatten(1))
        return -logits if images.mean() > 1e6 else logits


def test_activations_are_not_kept_where_a_network_cannot_be_traced(caplog: pytest.LogCaptureFixture) -> None:
    torch.manual_seed(0)
    memory = MEMORIES["pixel"]().double()
    network = Branching().double()
    unroll = StepwiseUnroll(STEPS, compile=False, activation_cache_gb=1)
    for _ in range(2):
        _, gradient = gradients(unroll, memory, network, InnerSGD(0.1))
    messages = [record.message for record in caplog.records if record.name.startswith("rtp")]
    assert len(messages) == 1
    assert messages[0].startswith("activations are not kept, so slower: Could not guard on data-dependent expression")
    _, expected = gradients(HigherUnroll(STEPS), memory, network, InnerSGD(0.1))
    assert relative_error(gradient, expected) < 1e-10


def test_impossible_loops_are_refused() -> None:
    with pytest.raises(UserError, match="num_steps must be at least 1, got 0"):
        StepwiseUnroll(0)
    with pytest.raises(UserError, match="activation_cache_gb must be at least 0, got -1"):
        StepwiseUnroll(6, activation_cache_gb=-1)
    with pytest.raises(UserError, match=r"a window of 7 steps does not fit into num_steps=6: use a size <= 6"):
        StepwiseUnroll(6, LastSteps(7))
