"""What all networks have in common."""

import pytest
import torch
import torchvision.models  # noqa: F401  # its AlexNet must not be mistaken for rtp's
from jsonargparse import auto_cli
from torch import Tensor, nn
from torch.func import functional_call, grad, jvp
from torch.nn.functional import cross_entropy

from rtp.errors import UserError
from rtp.modules.networks import MLP, AlexNet, ConvNet, Network, NetworkFactory, ResNet12

STEP = 1e-7  # of central differences in float64; InstanceNorm over few pixels has large third derivatives


@pytest.fixture(
    params=[
        lambda: ConvNet((2, 8, 8), 3, width=4, depth=2),
        lambda: ResNet12((2, 16, 16), 3, widths=(2, 2, 3, 3)),
        lambda: AlexNet((2, 8, 8), 3, widths=(3, 3, 4, 3, 3)),
        lambda: MLP((2, 8, 8), 3, hidden_width=5, depth=2),
    ],
    ids=["ConvNet", "ResNet12", "AlexNet", "MLP"],
)
def network(request: pytest.FixtureRequest) -> Network:
    torch.manual_seed(0)
    tiny_network: Network = request.param()
    return tiny_network


class Plugin(nn.Module):
    """A network that knows nothing of rtp."""

    def __init__(self, image_shape: tuple[int, int, int], num_classes: int, scale: float = 1.0) -> None:
        super().__init__()
        self.scale = scale
        self.classifier = nn.Linear(image_shape[0], num_classes)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.scale * images.mean((2, 3)))
        return logits


@pytest.mark.parametrize(
    ("network_class", "image_shape"),
    [
        (network_class, image_shape)
        for network_class in (ConvNet, ResNet12, AlexNet, MLP)
        for image_shape in ((1, 28, 28), (3, 32, 32), (3, 64, 64), (1, 8, 8), (3, 24, 41))
        if (network_class, image_shape) != (ResNet12, (1, 8, 8))  # too small, see test_resnet12
    ],
)
def test_logits_for_every_image_shape(
    network_class: type[ConvNet | ResNet12 | AlexNet | MLP], image_shape: tuple[int, int, int]
) -> None:
    with torch.device("meta"):  # shapes without the arithmetic
        network = network_class(image_shape, 7)
        assert network(torch.empty(5, *image_shape)).shape == (5, 7)
    assert network.image_shape == image_shape
    assert network.num_classes == 7
    assert {parameter.device.type for parameter in network.parameters()} == {"meta"}


# torch itself uses it, at the first jvp
def test_second_derivatives(network: Network) -> None:
    """Hessian-vector products, both orders of differentiation against central differences of the gradient."""
    network = network.double()
    generator = torch.Generator().manual_seed(1)

    def randn(shape: torch.Size) -> Tensor:
        return torch.randn(shape, dtype=torch.float64, generator=generator)

    weights = {name: weight.detach() for name, weight in network.named_parameters()}
    direction = {name: randn(weight.shape) for name, weight in weights.items()}
    images = randn(torch.Size((4, *network.image_shape)))
    labels = torch.tensor([0, 1, 2, 1])

    def loss(weights: dict[str, Tensor], images: Tensor) -> Tensor:
        return cross_entropy(functional_call(network, weights, (images,)), labels)

    def gradient_along_direction(weights: dict[str, Tensor], images: Tensor) -> Tensor:
        gradient = grad(loss)(weights, images)
        return torch.stack([(gradient[name] * direction[name]).sum() for name in gradient]).sum()

    both = grad(loss, argnums=(0, 1))
    ahead = both({name: weight + STEP * direction[name] for name, weight in weights.items()}, images)
    behind = both({name: weight - STEP * direction[name] for name, weight in weights.items()}, images)
    expected = (
        {name: (ahead[0][name] - behind[0][name]) / (2 * STEP) for name in weights},
        (ahead[1] - behind[1]) / (2 * STEP),
    )
    reverse_over_reverse = grad(gradient_along_direction, argnums=(0, 1))(weights, images)
    forward_over_reverse = jvp(lambda weights: both(weights, images), (weights,), (direction,))[1]

    torch.testing.assert_close(reverse_over_reverse, expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(forward_over_reverse, reverse_over_reverse, rtol=1e-10, atol=1e-12)


def test_no_state_but_parameters(network: Network) -> None:
    assert not list(network.buffers())
    images = torch.randn(3, *network.image_shape)
    assert torch.equal(network.train()(images), network.eval()(images))


def test_logits_are_the_classifier_of_the_features(network: Network) -> None:
    images = torch.randn(3, *network.image_shape)
    features = network.features(images)
    assert features.shape == (3, network.classifier.in_features)
    assert torch.equal(network.classifier(features), network(images))


def test_the_base_is_abstract() -> None:
    with pytest.raises(TypeError, match="abstract"):
        Network((1, 8, 8), 10)  # type: ignore[abstract]


@pytest.mark.parametrize(
    ("arguments", "network_class", "classifier_inputs"),
    [
        (["ConvNet", "--network.width=6", "--network.depth=1"], ConvNet, 6 * 8 * 8),
        (["ResNet12", "--network.widths=[2, 2, 2, 3]"], ResNet12, 3),
        (["AlexNet", "--network.widths=[2, 2, 2, 2, 3]"], AlexNet, 3 * 2 * 2),
        (["MLP", "--network.hidden_width=12"], MLP, 12),
        ([f"{__name__}.Plugin", "--network.scale=2"], Plugin, 1),
    ],
)
def test_a_configuration_names_a_network(
    arguments: list[str], network_class: type[nn.Module], classifier_inputs: int
) -> None:
    def build(network: NetworkFactory) -> nn.Module:
        return network((1, 16, 16), 10)

    network = auto_cli(build, args=["--network", *arguments], as_positional=False)
    assert type(network) is network_class
    assert network.get_parameter("classifier.weight").shape == (10, classifier_inputs)


@pytest.mark.parametrize(
    ("network_class", "arguments", "message"),
    [
        (ConvNet, {"width": 0}, r"^width must be at least 1, got 0$"),
        (ConvNet, {"depth": 0}, r"^depth must be at least 1, got 0$"),
        (ResNet12, {"widths": (64, -1, 8, 8)}, r"^widths must be at least 1, got 64, -1, 8, 8$"),
        (AlexNet, {"widths": (1, 1, 1, 0, 1)}, r"^widths must be at least 1, got 1, 1, 1, 0, 1$"),
        (MLP, {"hidden_width": 0}, r"^hidden_width must be at least 1, got 0$"),
        (MLP, {"depth": -2}, r"^depth must be at least 1, got -2$"),
    ],
)
def test_sizes_below_one(network_class: type[Network], arguments: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        network_class((3, 32, 32), 10, **arguments)
