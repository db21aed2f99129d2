import pytest
import torch
from torch import nn

from rtp.errors import UserError
from rtp.modules.networks import MLP


@pytest.mark.parametrize("depth", [1, 3])
def test_parameters(depth: int) -> None:
    network = MLP((1, 28, 28), 10, depth=depth)
    hidden = (784 * 256 + 256) + (depth - 1) * (256 * 256 + 256)
    assert sum(parameter.numel() for parameter in network.parameters()) == hidden + 256 * 10 + 10


def test_one_hidden_layer_by_hand() -> None:
    network = MLP((1, 1, 2), 2, hidden_width=2)
    hidden = network.features.get_submodule("1")
    assert isinstance(hidden, nn.Linear)
    with torch.no_grad():
        hidden.weight.copy_(torch.tensor([[1.0, 2.0], [-1.0, 0.0]]))
        hidden.bias.copy_(torch.tensor([0.5, 0.0]))
        network.classifier.weight.copy_(torch.tensor([[2.0, 7.0], [-1.0, 7.0]]))
        network.classifier.bias.copy_(torch.tensor([0.0, 1.0]))
    # hidden: relu(1 + 2 * 3 + 0.5) = 7.5 and relu(-1) = 0
    assert network(torch.tensor([[[[1.0, 3.0]]]])).tolist() == [[15.0, -6.5]]


def test_dropout_after_each_hidden_layer_in_training_alone() -> None:
    torch.manual_seed(0)
    network = MLP((1, 2, 2), 3, hidden_width=50, depth=2, dropout=0.4)
    assert [type(layer).__name__ for layer in network.features.children()][1:] == 2 * ["Linear", "ReLU", "Dropout"]
    assert [layer.p for layer in network.features.children() if isinstance(layer, nn.Dropout)] == [0.4, 0.4]
    images = torch.randn(5, 1, 2, 2)
    assert not torch.equal(network(images), network(images))
    network.eval()
    assert torch.equal(network(images), network(images))
    assert [type(layer).__name__ for layer in MLP((1, 2, 2), 3).features.children()] == ["Flatten", "Linear", "ReLU"]
    with pytest.raises(UserError, match=r"dropout must lie in \[0, 1\), got 1"):
        MLP((1, 2, 2), 3, dropout=1)
