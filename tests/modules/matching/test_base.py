"""Distances by hand, their gradients in other ways, and which images are matched."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rtp.modules import ConvNet, FlipOrRotate, InnerAdam, InnerOptimizer, InnerSGD, PixelMemory
from rtp.modules.augmentations.base import Augmentation
from rtp.modules.matching.base import (
    ClassPairs,
    MatchedNetwork,
    class_pairs,
    feature_distance,
    gradient_distance,
    gradient_matching_loss,
    trained,
)
from rtp.modules.unroll.step.functions import step_functions

SHAPE, CLASSES = (1, 4, 4), 3


def random(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def network() -> ConvNet:
    torch.manual_seed(0)
    return ConvNet(SHAPE, CLASSES, width=2, depth=1).double()


def shapes(network: nn.Module) -> list[torch.Size]:
    return [parameter.shape for parameter in network.parameters()]


def theta(network: nn.Module) -> Tensor:
    return nn.utils.parameters_to_vector(network.parameters()).detach()


# The distance of gradients ---------------------------------------------------------------------------------------


def test_distance_by_hand() -> None:
    # rows (1, 0) and (3, 4) against (0, 2) and (6, 8): cosines 0 and 1; the vector of 3 is left out
    ours = torch.tensor([1.0, 0, 3, 4, 5, 6, 7])
    theirs = torch.tensor([0.0, 2, 6, 8, -5, -6, -7])
    parts = [torch.Size([2, 2]), torch.Size([3])]
    assert gradient_distance(ours, theirs, parts).item() == pytest.approx(1, abs=1e-5)
    # one row of a kernel (1, 2, 1, 2): (1, 2, 2, 0) against (2, 2, 1, 0), the cosine is 8 / 9
    kernels = gradient_distance(torch.tensor([1.0, 2, 2, 0]), torch.tensor([2.0, 2, 1, 0]), [torch.Size([1, 2, 1, 2])])
    assert kernels.item() == pytest.approx(1 / 9, abs=1e-6)


def test_opposite_rows_are_two_apart_and_rows_of_zeros_one() -> None:
    row, shape = torch.tensor([3.0, -4]), [torch.Size([1, 2])]
    assert gradient_distance(row, -2 * row, shape).item() == pytest.approx(2)
    zeros = torch.zeros(2, requires_grad=True)
    distance = gradient_distance(zeros, row, shape)
    assert distance.item() == 1
    assert torch.autograd.grad(distance, zeros)[0].isfinite().all()


def test_distance_is_that_of_cosine_similarity_layer_by_layer(network: ConvNet) -> None:
    real = [random(*shape, seed=1) for shape in shapes(network)]
    recalled = [random(*shape, seed=2) for shape in shapes(network)]
    expected = sum(
        (1 - F.cosine_similarity(a.flatten(1), b.flatten(1))).sum()
        for a, b in zip(recalled, real, strict=True)
        if a.dim() > 1
    )
    a, b = (torch.cat([part.flatten() for part in parts]) for parts in (recalled, real))
    torch.testing.assert_close(gradient_distance(a, b, shapes(network)), expected, rtol=0, atol=1e-5)


def test_gradient_of_the_distance() -> None:
    parts = [torch.Size([2, 3]), torch.Size([4]), torch.Size([2, 1, 2, 1])]
    real, recalled = random(14, seed=1), random(14, seed=2).requires_grad_()
    assert torch.autograd.gradcheck(lambda g: gradient_distance(g, real, parts), recalled)


# The matching loss -----------------------------------------------------------------------------------------------


def pairs() -> ClassPairs:
    recalled = random(2, 3, *SHAPE, seed=3).requires_grad_()
    return ClassPairs(torch.tensor([0, 2]), recalled, (random(5, *SHAPE, seed=4), random(4, *SHAPE, seed=5)))


def test_matching_loss_is_what_autograd_computes_with_a_graph_of_the_gradient(network: ConvNet) -> None:
    given = pairs()
    parameters = list(network.parameters())

    def gradient(images: Tensor, label: Tensor, graph: bool) -> Tensor:
        loss = F.cross_entropy(network(images), label.expand(len(images)))
        return torch.cat([g.flatten() for g in torch.autograd.grad(loss, parameters, create_graph=graph)])

    total = torch.zeros((), dtype=torch.float64)
    for label, recalled, real in zip(given.classes, given.recalled, given.real, strict=True):
        total = total + gradient_distance(
            gradient(recalled, label, True), gradient(real, label, False), shapes(network)
        )
    (expected,) = torch.autograd.grad(total, given.recalled)

    loss = gradient_matching_loss(step_functions(network), theta(network), shapes(network), given)
    (found,) = torch.autograd.grad(loss, given.recalled)
    torch.testing.assert_close(loss, total, rtol=1e-12, atol=0)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


def test_matching_loss_by_finite_differences(network: ConvNet) -> None:
    given = pairs()

    def loss(recalled: Tensor) -> Tensor:
        return gradient_matching_loss(
            step_functions(network), theta(network), shapes(network), ClassPairs(given.classes, recalled, given.real)
        )

    assert torch.autograd.gradcheck(loss, given.recalled, fast_mode=True)  # along a random direction


def test_real_images_themselves_match(network: ConvNet) -> None:
    real = random(2, 3, *SHAPE, seed=3)
    same = ClassPairs(torch.tensor([0, 2]), real, tuple(real))
    loss = gradient_matching_loss(step_functions(network), theta(network), shapes(network), same)
    # but for the small number beside the product of the norms
    assert loss.item() == pytest.approx(0, abs=1e-2)
    assert loss.item() > 0


# Training in between ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "theirs"),
    [
        (InnerSGD(0.1, 0.5), lambda parameters: torch.optim.SGD(parameters, lr=0.1, momentum=0.5)),
        (InnerAdam(0.01), lambda parameters: torch.optim.Adam(parameters, lr=0.01, eps=1e-6)),
    ],
)
def test_training_is_that_of_torchs_optimizer(rule: InnerOptimizer, theirs: object, network: ConvNet) -> None:
    images, labels = random(5, *SHAPE, seed=6), torch.tensor([0, 0, 1, 1, 2])
    functions = step_functions(network)
    state = MatchedNetwork(theta(network), rule.initial_state(theta(network)), matchings=1)
    torch.manual_seed(9)
    for _ in range(2):  # the optimizer's state goes on
        state = trained(state, functions, rule, images, labels, epochs=2, batch_size=3)
    assert (state.steps, state.matchings) == (8, 1)

    optimizer = theirs(network.parameters())  # type: ignore[operator]
    torch.manual_seed(9)
    for _ in range(4):
        for chosen in torch.randperm(5).split(3):
            optimizer.zero_grad()
            F.cross_entropy(network(images[chosen]), labels[chosen]).backward()
            optimizer.step()
    # Adam's epsilon stands within the root there and outside here
    torch.testing.assert_close(state.theta, theta(network), rtol=1e-5, atol=1e-5)


def test_training_augments_image_by_image(network: ConvNet, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[int] = []
    original = FlipOrRotate.sample

    def record(self: FlipOrRotate, num: int, *arguments: object) -> Tensor:
        drawn.append(num)
        return original(self, num, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(FlipOrRotate, "sample", record)
    state = MatchedNetwork(theta(network), InnerSGD().initial_state(theta(network)))
    images, labels = random(5, *SHAPE), torch.tensor([0, 0, 1, 1, 2])
    trained(state, step_functions(network), InnerSGD(), images, labels, 1, 3, FlipOrRotate())
    assert drawn == [3, 2]


# The distance of features ----------------------------------------------------------------------------------------


def test_feature_distance_by_hand() -> None:
    recalled = [torch.tensor([[1.0, 0], [3, 0]]), torch.tensor([[0.0, 1]])]  # means (2, 0) and (0, 1)
    real = [torch.tensor([[0.0, 0], [0, 0], [3, 3]]), torch.tensor([[0.0, 5]])]  # means (1, 1) and (0, 5)
    assert feature_distance(recalled, real).item() == 1 + 1 + 16


def test_gradient_of_the_feature_distance() -> None:
    recalled = [random(2, 3, seed=1).requires_grad_(), random(1, 3, seed=2).requires_grad_()]
    real = [random(4, 3, seed=3), random(5, 3, seed=4)]
    assert torch.autograd.gradcheck(lambda *ours: feature_distance(ours, real), recalled)


# Which images ----------------------------------------------------------------------------------------------------


class Add(Augmentation):
    """Adds a number that counts the draws."""

    def sample(self, num: int, device: torch.device | str, generator: torch.Generator | None = None) -> Tensor:
        return 1000.0 * (1 + torch.arange(num, device=device))

    def apply(self, images: Tensor, parameters: Tensor) -> Tensor:
        return images + parameters.view(-1, 1, 1, 1)


def memory(images_per_class: int) -> PixelMemory:
    made = PixelMemory(SHAPE, CLASSES, images_per_class)
    with torch.no_grad():  # image number i is full of i
        made.images.copy_(torch.arange(len(made.images)).view(-1, 1, 1, 1).expand_as(made.images))
    return made


BATCH = torch.arange(-5.0, 0).view(-1, 1, 1, 1).expand(-1, *SHAPE), torch.tensor([2, 0, 2, 0, 0])


def test_pairs_are_of_the_batchs_classes_with_all_their_slots() -> None:
    found = class_pairs(memory(2), 7, *BATCH)
    assert found.classes.tolist() == [0, 2]
    assert [sorted(images[:, 0, 0, 0].tolist()) for images in found.recalled] == [[0, 1], [4, 5]]
    assert [images[:, 0, 0, 0].tolist() for images in found.real] == [[-4, -2, -1], [-5, -3]]


def test_fewer_slots_are_drawn_without_replacement() -> None:
    torch.manual_seed(0)
    seen = set()
    for _ in range(50):
        slots = class_pairs(memory(3), 2, *BATCH).recalled[:, :, 0, 0, 0]
        assert set(slots[0].tolist()) < {0, 1, 2}
        assert set(slots[1].tolist()) < {6, 7, 8}
        assert slots[0, 0] != slots[0, 1]
        seen |= set(slots.flatten().tolist())
    assert seen == {0, 1, 2, 6, 7, 8}


def test_each_class_has_one_draw_of_the_augmentation() -> None:
    found = class_pairs(memory(2), 2, *BATCH, Add())
    plain = class_pairs(memory(2), 2, *BATCH)
    for number in range(2):
        added = 1000 * (number + 1)
        ours, before = (sorted(p.recalled[number, :, 0, 0, 0].tolist()) for p in (found, plain))
        assert ours == [value + added for value in before]
        assert torch.equal(found.real[number], plain.real[number] + added)


def test_a_pair_leads_back_to_the_memory() -> None:
    made = memory(2)
    class_pairs(made, 2, *BATCH, Add()).recalled.sum().backward()
    assert made.images.grad is not None
    assert made.images.grad.flatten(1).sum(1).tolist() == [16, 16, 0, 0, 16, 16]
