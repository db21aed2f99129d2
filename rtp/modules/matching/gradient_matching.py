"""The LightningModule that learns a memory by matching gradients: DC, and DSA with an augmentation."""

from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from rtp.errors import UserError
from rtp.modules.distillation.base import Distillation
from rtp.modules.matching.base import MatchedNetwork, class_pairs, gradient_matching_loss, refuse_buffers, trained
from rtp.modules.unroll.inner_optimizer import InnerOptimizer, InnerSGD
from rtp.modules.unroll.step.functions import StepFunctions, step_functions
from rtp.utils.checks import check_at_least
from rtp.utils.distributed import all_gather

NETWORKS_KEY = "rtp_matched_networks"
"""Where a checkpoint holds the network of each process for the next step; None for a fresh one."""


class GradientMatching(Distillation):
    """Distils a data set by matching the gradients of recalled and real images: DC, and DSA with an augmentation.

    An outer step is one matching: for each class of the batch it brings the gradient of the network's loss on recalled
    images closer to that on real images (`gradient_distance`). A network serves for some matchings, and is trained on
    the recalled images of all classes in between; then a fresh one replaces it.

    Deviations from the authors' code: a matching draws the classes of the batch, all by default; while the network is
    trained, the augmentation is drawn for each image, not for a minibatch; BatchNorm is not supported.

    Zhao, Mopuri and Bilen, "Dataset Condensation with Gradient Matching", ICLR 2021; Zhao and Bilen, "Dataset
    Condensation with Differentiable Siamese Augmentation", ICML 2021.

    Args:
        slots_per_class: Recalled images of each class in a matching; all of them if the memory has fewer.
        matchings_per_network: Outer steps before a fresh network is drawn, DC's outer loop: 1 for 1 image a class, 10
            for 10, 50 for 50 (authors' code).
        network_epochs: Passes over the recalled images between two matchings of a network, DC's inner loop: 50 for 10
            images a class, 10 for 50 (authors' code). With one matching per network, it is never trained.
        network_batch_size: Recalled images in a minibatch of these at most; the authors' code has 256.
        inner_optimizer: Trains the network; the default is that of the first version of the authors' code.
        compile: Whether to compile the functions of a step, which takes minutes at the first step of a run.
        **kwargs: As in `Distillation`, whose default outer optimizer is the authors' too. The network has no buffers
            such as BatchNorm's. An augmentation, drawn once per class and step, turns DC into DSA.

    Raises:
        UserError: If a number is below 1, or the network has buffers.
    """

    def __init__(
        self,
        slots_per_class: int,
        matchings_per_network: int = 1,
        network_epochs: int = 1,
        network_batch_size: int = 256,
        inner_optimizer: InnerOptimizer = InnerSGD(0.01, 0.5),  # noqa: B008  # frozen
        compile: bool = True,
        **kwargs: Any,
    ) -> None:
        check_at_least("slots_per_class", slots_per_class, 1)
        check_at_least("matchings_per_network", matchings_per_network, 1)
        check_at_least("network_epochs", network_epochs, 1)
        check_at_least("network_batch_size", network_batch_size, 1)
        super().__init__(**kwargs)
        self.slots_per_class = slots_per_class
        self.matchings_per_network = matchings_per_network
        self.network_epochs = network_epochs
        self.network_batch_size = network_batch_size
        self.inner_optimizer = inner_optimizer
        self.compiles = compile  # nn.Module has a method `compile`
        self._matched: MatchedNetwork | None = None
        refuse_buffers("GradientMatching", self.fresh_network(self.network))

    def outer_loss(self, real_images: Tensor, real_labels: Tensor) -> Tensor:
        """The distance of the gradients, summed over classes; see `Distillation.outer_loss`."""
        fresh = self.fresh_network(self.network)
        functions = step_functions(fresh, compile=self.compiles)
        shapes = [parameter.shape for parameter in fresh.parameters()]
        network = self._next_network(fresh, functions)
        pairs = class_pairs(self.memory, self.slots_per_class, real_images, real_labels, self.augmentation)
        loss = gradient_matching_loss(functions, network.theta, shapes, pairs)
        self._matched = replace(network, matchings=network.matchings + 1)
        return loss

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the network of each process too, if it will be used again."""
        super().on_save_checkpoint(checkpoint)
        last = self._matched
        state = None
        if last is not None and last.matchings < self.matchings_per_network:
            # types that a checkpoint can be opened with without running code
            state = vars(last) | {"theta": last.theta.cpu(), "moments": [moment.cpu() for moment in last.moments]}
        checkpoint[NETWORKS_KEY] = all_gather(state)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the network too.

        Raises:
            UserError: If the checkpoint is of another module.
        """
        super().on_load_checkpoint(checkpoint)
        if NETWORKS_KEY not in checkpoint:
            raise UserError("the checkpoint is not one of GradientMatching: use the config.yaml of its run")
        states = checkpoint[NETWORKS_KEY]
        # a process that the run did not have before starts with a fresh network
        state = states[self.global_rank] if self.global_rank < len(states) else None
        self._matched = None if state is None else MatchedNetwork(**state | {"moments": tuple(state["moments"])})

    def _next_network(self, fresh: nn.Module, functions: StepFunctions) -> MatchedNetwork:
        theta = nn.utils.parameters_to_vector(fresh.parameters()).detach()
        moments = self.inner_optimizer.initial_state(theta)
        last = self._matched
        if last is None or last.matchings >= self.matchings_per_network:
            return MatchedNetwork(theta, moments)
        if last.theta.shape != theta.shape or len(last.moments) != len(moments):
            raise UserError("the checkpoint's network or its optimizer is another one: use the config.yaml of its run")
        last = replace(
            last, theta=last.theta.to(theta.device), moments=tuple(moment.to(theta.device) for moment in last.moments)
        )
        sizes = self.network_epochs, self.network_batch_size
        return trained(last, functions, self.inner_optimizer, *self.recalled(), *sizes, self.augmentation)
