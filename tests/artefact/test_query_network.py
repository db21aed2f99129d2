"""The feature network in a file: one of rtp's, built from checked numbers alone."""

from typing import Any

import pytest
import torch

from rtp.artefact.query_network import NETWORKS, QueryNetwork, default_arguments
from rtp.errors import DataError

SHAPE = (3, 32, 32)


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_every_network_has_the_shapes_that_it_says(name: str) -> None:
    query = QueryNetwork(name, default_arguments(NETWORKS[name]), 5)
    state = torch.get_rng_state()
    shapes = query.shapes(SHAPE)
    assert torch.equal(torch.get_rng_state(), state)
    assert shapes == {key: tuple(value.shape) for key, value in query.build(SHAPE, 5).state_dict().items()}
    assert str(query).startswith(f"{name}(")


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("print", {}, "the feature network is 'print', not AlexNet or ConvNet or MLP or ResNet12"),
        ("ConvNet", {"width": 3, "depth": 1, "image_shape": 3}, "the arguments of ConvNet are not width, depth"),
        ("ConvNet", {"width": 2**40, "depth": 1}, "width of ConvNet is 1099511627776, not from 1 to 16384"),
        ("ResNet12", {"widths": 3}, "widths of ResNet12 is of another kind"),
        ("ResNet12", {"widths": (3, 3, 3)}, "widths of ResNet12 is of another kind"),
    ],
)
def test_what_cannot_be_built_without_harm_is_refused(name: str, arguments: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        QueryNetwork(name, arguments, 5)


def test_a_network_that_does_not_suit_the_images_is_refused() -> None:
    with pytest.raises(DataError, match=r"the feature network does not suit the images \(ConvNet of depth 9 halves"):
        QueryNetwork("ConvNet", {"width": 3, "depth": 9}, 5).shapes(SHAPE)
