"""The settings of modules that differentiate through an inner loop."""

from typing import Any

from rtp.errors import UserError
from rtp.modules.distillation.base import Distillation
from rtp.modules.memories.base import MemoryFactory
from rtp.modules.networks import NetworkFactory
from rtp.modules.unroll.base import Unroll
from rtp.modules.unroll.growth import Growth
from rtp.modules.unroll.inner_optimizer import InnerOptimizer, InnerSGD
from rtp.utils.checks import check_at_least


class UnrolledDistillation(Distillation):
    """Learns a memory by back-propagation through the training of networks.

    Args:
        network: The network to train in the inner loop.
        unroll: How the inner loop is run and differentiated.
        slots_per_class: Recalled images of each class in an inner minibatch, at least 1; all if there are fewer.
        inner_optimizer: The inner loop's update rule.
        growth: How the inner loop grows over outer steps; by default, as in the paper, it is as `unroll` says.
        **kwargs: As in `Distillation`, whose other arguments come first.

    Raises:
        UserError: If `slots_per_class` is below 1, `growth` does not fit `unroll`, or the memory learns the rate of
            another rule than InnerSGD.
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
        growth: Growth | None = None,
        **kwargs: Any,
    ) -> None:
        check_at_least("slots_per_class", slots_per_class, 1)
        super().__init__(image_shape, num_classes, memory, network, **kwargs)
        if self.memory.rate_factor is not None and not isinstance(inner_optimizer, InnerSGD):
            name = type(inner_optimizer).__name__  # Adam's steps do not depend on the scale of the loss
            raise UserError(f"memory.learned_rate needs InnerSGD, and model.inner_optimizer is {name}")
        if growth is not None:
            growth.at(unroll, 0)  # refuses what does not fit
        self.unroll = unroll
        self.growth = growth
        self.slots_per_class = slots_per_class
        self.inner_optimizer = inner_optimizer

    @property
    def current_unroll(self) -> Unroll:
        """The engine of the present outer step."""
        return self.unroll if self.growth is None else self.growth.at(self.unroll, self._steps_done)
