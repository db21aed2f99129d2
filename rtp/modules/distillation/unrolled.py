"""The settings of modules that train networks in an inner loop and differentiate through it."""

from typing import Any

from rtp.errors import UserError
from rtp.modules.distillation.base import Distillation
from rtp.modules.memories.base import MemoryFactory
from rtp.modules.networks import NetworkFactory
from rtp.modules.unroll.base import Unroll
from rtp.modules.unroll.inner_optimizer import InnerOptimizer, InnerSGD


class UnrolledDistillation(Distillation):
    """Learns a memory by back-propagation through the training of networks.

    Args:
        image_shape: (C, H, W), taken from the data set.
        num_classes: Number of classes, taken from the data set.
        memory: The memory to learn.
        network: The network to train in the inner loop.
        unroll: How the inner loop is run and differentiated.
        slots_per_class: Recalled images of each class in an inner minibatch; all of them where there are fewer.
        inner_optimizer: The inner loop's update rule.
        **kwargs: As in `Distillation`.

    Raises:
        UserError: If `slots_per_class` is below 1.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        num_classes: int,
        memory: MemoryFactory,
        network: NetworkFactory,
        unroll: Unroll,
        slots_per_class: int,
        inner_optimizer: InnerOptimizer = InnerSGD(),  # noqa: B008  # frozen
        **kwargs: Any,
    ) -> None:
        if slots_per_class < 1:
            raise UserError(f"slots_per_class must be at least 1, got {slots_per_class}")
        super().__init__(image_shape, num_classes, memory, network, **kwargs)
        self.unroll = unroll
        self.slots_per_class = slots_per_class
        self.inner_optimizer = inner_optimizer
