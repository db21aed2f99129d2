"""A function in two halves: the same results, and no product done twice."""

import torch
from torch import Tensor, nn
from torch.func import functionalize
from torch.fx.experimental.proxy_tensor import make_fx

from rtp.modules.networks import ConvNet
from rtp.modules.unroll.step.functions import step_functions
from rtp.modules.unroll.step.saved_activations import PRODUCTS, SavedActivations, split

NETWORK = ConvNet((1, 8, 8), 3, width=4, depth=2).double()


def arguments() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    theta = nn.utils.parameters_to_vector(NETWORK.parameters()).detach()
    images, labels = torch.randn(6, 1, 8, 8, dtype=torch.float64), torch.tensor([0, 1, 2, 0, 1, 2])
    return theta, torch.randn_like(theta), images, labels


def test_both_halves_give_what_the_functions_of_a_step_give() -> None:
    theta, direction, images, labels = arguments()
    functions = step_functions(NETWORK)
    gradient, kept = functions.keeping.gradient(theta, images, labels)
    products = functions.keeping.hessian_vector_products(theta, direction, images, labels, kept)
    torch.testing.assert_close(gradient, functions.gradient(theta, images, labels), rtol=1e-12, atol=1e-14)
    for value, expected in zip(
        products, functions.hessian_vector_products(theta, direction, images, labels), strict=True
    ):
        torch.testing.assert_close(value, expected, rtol=1e-12, atol=1e-14)
    assert functions.keeping.num_bytes(theta, images, labels) == sum(tensor.nbytes for tensor in kept)


def test_a_hand_written_function_is_cut_where_the_direction_enters() -> None:
    def joint(a: Tensor, direction: Tensor, b: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        product = a @ b  # worth keeping
        cheap = product.relu() + c  # done again
        return cheap.sum(), cheap * direction, (cheap * direction).sum()

    torch.manual_seed(0)
    a, direction, b, c = (torch.randn(4, 4, dtype=torch.float64) for _ in range(4))
    first, second, size = split(make_fx(joint)(a, direction, b, c))
    value, *kept = first(a, b, c)
    expected = joint(a, direction, b, c)
    assert torch.equal(value, expected[0])
    assert all(torch.equal(x, y) for x, y in zip(second(direction, a, b, c, *kept), expected[1:], strict=True))
    assert [tensor.shape for tensor in kept] == [(4, 4)]
    assert torch.equal(kept[0], a @ b)
    assert size == 4 * 4 * 8


def test_no_product_is_done_twice() -> None:
    def count(graph: torch.fx.GraphModule) -> int:
        return sum(node.target in PRODUCTS for node in graph.graph.nodes)

    theta, direction, images, labels = arguments()
    keeping = step_functions(NETWORK).keeping
    whole = make_fx(functionalize(make_fx(keeping._joint)(theta, direction, images, labels)))(
        theta, direction, images, labels
    )
    halves = split(whole)[:2]
    # forward 2 convolutions and a linear layer; backward their weights' gradients and two of their inputs'
    assert count(halves[0]) == 3 + 3 + 2
    assert count(halves[0]) + count(halves[1]) == count(whole)


def test_other_shapes_are_cut_anew() -> None:
    calls = []

    def joint(theta: Tensor, direction: Tensor, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        calls.append(images.shape)
        return theta.sum() * labels.sum(), theta * direction, images * direction.sum()

    keeping = SavedActivations(joint, None)
    for size in (3, 5, 3):
        images, labels = torch.ones(size, 1), torch.ones(size)
        value, kept = keeping.gradient(torch.ones(2), images, labels)
        assert value == 2 * size
        _, products = keeping.hessian_vector_products(torch.ones(2), torch.full((2,), 3.0), images, labels, kept)
        assert torch.equal(products, torch.full((size, 1), 6.0))
    assert calls == [(3, 1), (5, 1)]
