"""A gradient and its derivative along a direction, in two halves: the second reuses activations of the first."""

import logging
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx
from torch.func import functionalize
from torch.fx.experimental.proxy_tensor import make_fx

from rtp.errors import first_line
from rtp.modules.unroll.step.compilation import Compiler

log = logging.getLogger(__name__)

aten = torch.ops.aten
PRODUCTS = {
    aten.convolution.default,
    aten.convolution_backward.default,
    aten.mm.default,
    aten.addmm.default,
    aten.bmm.default,
}
"""Operations whose results are kept; all others are recomputed from these, in fewer passes over memory."""
MUCH_SMALLER = 16
"""Results this many times smaller than their inputs, the statistics of a norm, are kept as well."""
Halves = tuple[Callable[..., Any], Callable[..., Any], int]
"""The two functions, and the bytes kept in between."""


class SavedActivations:
    """The gradient, which keeps activations, and the Hessian-vector products, which reuse them.

    Counted in forward passes F, the gradient takes 3 F and the products 6 F; without kept activations they take 8 F.

    Args:
        joint: (theta, direction, images, labels) -> (g, H direction, M direction), where g ignores the direction.
        compiler: Compiles the two functions, if given.
    """

    def __init__(
        self, joint: Callable[[Tensor, Tensor, Tensor, Tensor], tuple[Tensor, ...]], compiler: Compiler | None
    ) -> None:
        self._joint = joint
        self._compiler = compiler
        self._works = True
        self._halves: dict[tuple[Any, ...], Halves] = {}

    def gradient(self, theta: Tensor, images: Tensor, labels: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """The gradient g and the saved activations."""
        gradient, *kept = self._split(theta, images, labels)[0](theta, images, labels)
        return gradient, tuple(kept)

    def hessian_vector_products(
        self, theta: Tensor, direction: Tensor, images: Tensor, labels: Tensor, kept: tuple[Tensor, ...]
    ) -> tuple[Tensor, Tensor]:
        """H direction and M direction, from the activations that `gradient` kept at the same arguments."""
        return self._split(theta, images, labels)[1](direction, theta, images, labels, *kept)

    def num_bytes(self, theta: Tensor, images: Tensor, labels: Tensor) -> float:
        """Bytes kept of a step with arguments of these shapes; infinite where it cannot be split."""
        if not self._works:
            return math.inf
        try:
            return self._split(theta, images, labels)[2]
        except Exception as error:  # anything in a network that cannot be traced
            log.warning("activations are not kept, so slower: %s", first_line(error))
            self._works = False
            return math.inf

    def _split(self, theta: Tensor, images: Tensor, labels: Tensor) -> Halves:
        key = tuple((argument.shape, argument.dtype, argument.device) for argument in (theta, images, labels))
        if key not in self._halves:
            inputs = theta, torch.zeros_like(theta), images, labels
            graph = make_fx(self._joint, tracing_mode="fake")(*inputs)
            # some of PyTorch's derivatives work in place, which breaks a split graph
            graph = make_fx(functionalize(graph), tracing_mode="fake")(*inputs)
            first, second, size = split(graph)
            compiled = self._compiler or (lambda function: function)
            self._halves[key] = compiled(first), compiled(second), size
        return self._halves[key]


def split(joint: fx.GraphModule) -> tuple[fx.GraphModule, fx.GraphModule, int]:
    """Split a graph (a, direction, b, c) -> (x, y, z) without side effects, whose x does not depend on `direction`.

    Returns:
        (a, b, c) -> (x, *kept); (direction, a, b, c, *kept) -> (y, z); and the bytes of `kept`.
    """
    nodes = list(joint.graph.nodes)
    inputs = [node for node in nodes if node.op == "placeholder"]
    direction = inputs[1]
    dependent = {direction}
    for node in nodes:
        if node.op != "output" and not dependent.isdisjoint(node.all_input_nodes):
            dependent.add(node)

    kept: dict[fx.Node, None] = {}  # in the order in which they are found
    again: set[fx.Node] = set()
    open_nodes = [source for node in nodes if node in dependent for source in node.all_input_nodes]
    while open_nodes:
        node = open_nodes.pop()
        if node in dependent or node.op == "placeholder" or node in kept or node in again:
            continue
        if _worth_keeping(node):
            kept[node] = None
        else:
            again.add(node)
            open_nodes.extend(node.all_input_nodes)

    x, *outputs = nodes[-1].args[0]
    others = [node for node in inputs if node is not direction]
    first = _copied(joint, others, [n for n in nodes if n not in dependent], [x, *kept])
    second = _copied(joint, [direction, *others, *kept], [n for n in nodes if n in dependent or n in again], outputs)
    first.__name__, second.__name__ = "gradient", "hessian_vector_products"  # type: ignore[assignment]  # for the log
    return first, second, sum(node.meta["val"].nbytes for node in kept)


def _worth_keeping(node: fx.Node) -> bool:
    value = node.meta.get("val")
    if not isinstance(value, Tensor):  # several results are kept one by one
        return False
    source = node.all_input_nodes[0] if "getitem" in str(node.target) else node
    if source.target in PRODUCTS:
        return True
    sizes = [n.meta["val"].numel() for n in source.all_input_nodes if isinstance(n.meta.get("val"), Tensor)]
    return value.numel() * MUCH_SMALLER <= max(sizes, default=0)


def _copied(
    joint: fx.GraphModule, inputs: list[fx.Node], nodes: list[fx.Node], outputs: list[fx.Node]
) -> fx.GraphModule:
    graph = fx.Graph()
    copies = {node: graph.placeholder(node.name) for node in inputs}
    for node in nodes:
        if node not in copies and node.op not in ("placeholder", "output"):
            copies[node] = graph.node_copy(node, lambda source: copies[source])
    graph.output(tuple(copies[node] for node in outputs))
    graph.eliminate_dead_code()
    return fx.GraphModule(joint, graph)
