"""The feature network of an image-addressed memory: one of rtp's networks, with checked arguments."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from rtp.errors import DataError, UserError
from rtp.modules.networks import MLP, AlexNet, ConvNet, Network, ResNet12

NETWORKS: dict[str, Callable[..., Network]] = {cls.__name__: cls for cls in (AlexNet, ConvNet, MLP, ResNet12)}
"""The networks that a file can name; nothing else is called."""
MAX_WIDTH, MAX_DEPTH = 2**14, 64
"""Largest width of a layer and depth of a network, so that an untrusted file cannot make rtp build a huge one."""

Argument = int | tuple[int, ...]


@dataclass(frozen=True)
class QueryNetwork:
    """The architecture of h in y = h(image).

    Attributes:
        name: One of rtp's networks.
        arguments: All its arguments but the image's shape and the number of outputs.
        query_dim: Its outputs, the width of a query.
    """

    name: str
    arguments: dict[str, Argument]
    query_dim: int

    def __post_init__(self) -> None:
        """Raise DataError if the name or an argument is unknown or a number out of range: it is safe to build."""
        if self.name not in NETWORKS:
            raise DataError(f"the feature network is {ascii(self.name)[:40]}, not {' or '.join(NETWORKS)}")
        defaults = default_arguments(NETWORKS[self.name])
        if set(self.arguments) != set(defaults):
            raise DataError(f"the arguments of {self.name} are not {', '.join(defaults)}")
        for name, value in self.arguments.items():
            like, most = defaults[name], MAX_DEPTH if name == "depth" else MAX_WIDTH
            values, wanted = _entries(value), _entries(like)
            if isinstance(value, tuple) != isinstance(like, tuple) or len(values) != len(wanted):
                raise DataError(f"{name} of {self.name} is of another kind than {like}")
            if not all(1 <= number <= most for number in values):
                raise DataError(f"{name} of {self.name} is {ascii(value)[:40]}, not from 1 to {most}")
        if not 1 <= self.query_dim <= MAX_WIDTH:
            raise DataError(f"query_dim is {self.query_dim}, not from 1 to {MAX_WIDTH}")

    def build(self, image_shape: tuple[int, int, int], query_dim: int) -> Network:
        """Build the network; a `NetworkFactory`."""
        return NETWORKS[self.name](image_shape, query_dim, **self.arguments)

    def shapes(self, image_shape: tuple[int, int, int]) -> dict[str, tuple[int, ...]]:
        """Shapes of its weights by their names, without allocating them.

        Raises:
            DataError: If it does not suit the images.
        """
        try:
            with torch.device("meta"):
                state = self.build(image_shape, self.query_dim).state_dict()
        except (UserError, RuntimeError) as error:
            reason = str(error) if isinstance(error, UserError) else type(error).__name__
            raise DataError(f"the feature network does not suit the images ({reason})") from None
        return {name: tuple(tensor.shape) for name, tensor in state.items()}

    def __str__(self) -> str:
        return as_call({"class_path": self.name, "init_args": self.arguments})


def as_call(part: dict[str, Any]) -> str:
    """A part of a configuration as a call of its class: `ConvNet(width=32, depth=1)`."""
    arguments = ", ".join(f"{name}={value}" for name, value in (part.get("init_args") or {}).items())
    return f"{part['class_path'].rpartition('.')[2]}({arguments})"


def default_arguments(network: Callable[..., Network]) -> dict[str, Argument]:
    """Arguments of one of rtp's networks with their defaults, without those that the data set provides.

    Those that are no integers, such as a dropout probability, are of training and not of the architecture.
    """
    given = list(inspect.signature(network).parameters.items())[2:]
    return {name: each.default for name, each in given if not isinstance(each.default, float)}


def _entries(value: Argument) -> tuple[int, ...]:
    return value if isinstance(value, tuple) else (value,)
